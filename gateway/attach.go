package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// attachRaw reads the configuration of an update: an id or href, or null to detach.
func (g *Gateway) attachRaw(r *request, raw json.RawMessage) (reply, error) {
	var id *string
	if err := json.Unmarshal(raw, &id); err != nil {
		return reply{}, faultf(badRequest, "Validation error: instance['configuration'] must be the id of a configuration group, or null.")
	}
	if id == nil {
		return g.attach(r, "")
	}
	return g.attach(r, lastPart(*id))
}

// attach gives the instance of the path a configuration group, or with "" none, and returns when its server has the values
// or stores them for its next start.
func (g *Gateway) attach(r *request, id string) (reply, error) {
	in, err := g.instance(r)
	if err != nil {
		return reply{}, err
	}
	switch {
	case id == "" && in.Configuration == "":
		return reply{status: http.StatusAccepted}, nil
	case id != "" && in.Configuration != "" && id != in.Configuration:
		return reply{}, faultf(badRequest, "Instance %s has configuration %s attached; detach it first.", in.ID, in.Configuration)
	}
	if id != "" {
		if err := supports(in, method(datastores.MethodUpdateOverrides)); err != nil {
			return reply{}, err
		}
		group, err := g.findConfiguration(r, id)
		if err != nil {
			return reply{}, err
		}
		if group.Datastore != in.Datastore || group.Version != in.Version {
			return reply{}, faultf(badRequest, "Configuration %s is for %s %s, and instance %s is %s %s.", id, group.Datastore, group.Version, in.ID, in.Datastore, in.Version)
		}
	}
	return reply{status: http.StatusAccepted}, g.configure(r, in.ID, id)
}

// configure has an instance's guest use the values of a group, "" for none, and waits for its answer.
func (g *Gateway) configure(r *request, instance, id string) error {
	event := lifecycle.Event{Type: lifecycle.AskConfigure, Target: &etcdschema.Target{Configuration: &id}, Request: r.id()}
	after, err := g.transition(r.ctx, r.project, instance, event, func(p *plan) error {
		err := g.canBeAsked(p.s, p.before)
		if p.event.Away = err != nil; etcdschema.Unread(err) {
			return err
		}
		return nil
	})
	if err != nil || after.Operation == nil {
		return instanceError(err, instance)
	}
	ctx, cancel := context.WithDeadline(r.ctx, after.Operation.Deadline)
	defer cancel()
	result, err := g.awaitStep(ctx, after)
	switch {
	case err != nil || result.Error == nil:
		return err
	case result.Error.Kind == agentpoll.Invalid: // as when checkValues refuses them
		return faultf(unprocessable, "%s", result.Error.Message)
	}
	return result.Error
}

// reconfigure brings a group's changed values to every instance that has it. What could not be asked gets them with its next
// restart; the error tells of the first that refused them.
func (g *Gateway) reconfigure(r *request, group etcdschema.Configuration) error {
	var first error
	for _, id := range slices.Clone(group.Instances) {
		err := g.configure(r, id, group.ID)
		if err == nil || isNotFound(err) {
			continue
		}
		g.log.Warn("changed parameters wait for the restart of an instance", "instance_id", id, "configuration_id", group.ID, "err", err)
		if e := g.requireRestart(r, id, group.ID); e != nil {
			err = e
		}
		if f := faultOf(err, ""); first == nil && (f.kind != unprocessable || agentSaid(err)) && f.kind != unavailable {
			first = err
		}
	}
	return first
}

// requireRestart marks an instance whose server does not have the values of a group that it has or is about to have.
func (g *Gateway) requireRestart(r *request, id, configuration string) error {
	key := etcdschema.InstanceKey(r.project, id)
	_, err := g.store.Update(r.ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		in, changed := lifecycle.Outdate(rec.Value, configuration)
		if err != nil || !changed {
			return nil, err
		}
		return []etcdschema.Op{etcdschema.Put(key, in)}, nil
	})
	return err
}
