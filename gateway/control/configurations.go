package control

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/plan"
)

func (cp *Plane) FindConfiguration(ctx context.Context, c Caller, id string) (etcdschema.Configuration, error) {
	rec, err := etcdschema.Get(ctx, cp.Store, etcdschema.ConfigurationKey(c.Project, id))
	if fault.IsNotFound(err) {
		err = fault.NotFound("Configuration", id)
	}
	return rec.Value, err
}

type ConfigurationRequest struct {
	Name        *string            `json:"name"`
	Description *string            `json:"description"`
	Values      *datastores.Values `json:"values"`
	Datastore   struct {
		Type    string `json:"type"`
		Version string `json:"version"`
	} `json:"datastore"`
}

// check refuses a name or description that no group may have.
func (req ConfigurationRequest) check() error {
	if req.Name != nil && !ValidName(*req.Name) {
		return fault.Errorf(fault.BadRequest, "Validation error: configuration['name'] must be a string of 1 to 255 characters with a letter or digit.")
	}
	if req.Description == nil {
		return nil
	}
	return limits.Bounded("configuration['description']", *req.Description, limits.MaxDescription)
}

// NewConfiguration makes a configuration group. It returns the catalogue that it was held against, too.
func (cp *Plane) NewConfiguration(ctx context.Context, c Caller, req ConfigurationRequest) (group etcdschema.Configuration, catalogue etcdschema.Catalogue, err error) {
	if err := req.check(); err != nil {
		return group, catalogue, err
	}
	if req.Name == nil || req.Values == nil {
		return group, catalogue, fault.Errorf(fault.BadRequest, "Validation error: configuration needs 'name' and 'values'.")
	}
	if catalogue, err = cp.Catalogue(ctx); err != nil {
		return group, catalogue, err
	}
	version, err := chooseVersion(catalogue, req.Datastore.Type, req.Datastore.Version)
	if err != nil {
		return group, catalogue, err
	}
	now := cp.Now().UTC()
	group = etcdschema.Configuration{
		ID: plan.NewID(), Project: c.Project, Name: *req.Name, Datastore: version.Datastore, Version: version.Name, Values: *req.Values, Created: now, Updated: now,
	}
	if req.Description != nil {
		group.Description = *req.Description
	}
	if err := checkValues(version, group.Values); err != nil {
		return group, catalogue, err
	}
	_, err = cp.Store.Update(ctx, nil, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		ops, err := cp.Account(s, c.Project, func(u etcdschema.Usage) etcdschema.Usage { u.Configurations++; return u })
		return append(ops, etcdschema.Put(etcdschema.ConfigurationKey(c.Project, group.ID), group)), err
	})
	return group, catalogue, err
}

// checkValues holds values against the rules of a datastore version: 422 with all that is wrong.
func checkValues(version etcdschema.Version, values datastores.Values) error {
	if text, err := json.Marshal(values); err != nil || len(text) > limits.MaxValues {
		return limits.Over("values", fault.BadRequest, "The values of a configuration group may have %d bytes together.", limits.MaxValues)
	}
	if len(version.Server.Parameters) == 0 {
		return fault.Errorf(fault.Unprocessable, "%s %s has no parameters that can be set.", version.Datastore, version.Name)
	}
	problems := datastores.CheckValues(version.Server.Parameters, values)
	if len(problems) == 0 {
		return nil
	}
	return fault.Errorf(fault.Unprocessable, "The values are not valid: %s. GET datastores/%s/versions/%s/parameters lists what there is.", listed(problems), version.Datastore, version.Name)
}

// listed puts problems into one line.
func listed(problems []error) string {
	texts := make([]string, len(problems))
	for i, p := range problems {
		texts[i] = p.Error()
	}
	return strings.Join(texts, "; ")
}

// EditConfiguration changes a group and brings it to the instances that have it. Its values are put over those that are there, or in
// their place.
func (cp *Plane) EditConfiguration(ctx context.Context, c Caller, id string, req ConfigurationRequest, merge bool) error {
	if err := req.check(); err != nil {
		return err
	}
	catalogue, err := cp.Catalogue(ctx)
	if err != nil {
		return err
	}
	key := etcdschema.ConfigurationKey(c.Project, id)
	var after etcdschema.Configuration
	bill := cp.Limits.Bill(c.Project)
	_, err = cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		group, err := fault.Found(rec, err, "Configuration", id)
		if err != nil {
			return nil, err
		}
		if group, err = req.edited(group, catalogue, merge); err != nil {
			return nil, err
		}
		if err := bill.Writes(group.Values, 1); err != nil {
			return nil, err
		}
		group.Updated = cp.Now().UTC()
		after = group
		return []etcdschema.Op{etcdschema.Put(key, group)}, nil
	})
	if err != nil || req.Values == nil {
		return err
	}
	return cp.reconfigure(ctx, c, after)
}

// edited is a group as the request wants it.
func (req ConfigurationRequest) edited(group etcdschema.Configuration, catalogue etcdschema.Catalogue, merge bool) (etcdschema.Configuration, error) {
	if req.Name != nil {
		group.Name = *req.Name
	}
	if req.Description != nil {
		group.Description = *req.Description
	}
	if req.Values == nil {
		return group, nil
	}
	values := datastores.Values{}
	if merge {
		maps.Copy(values, group.Values)
	}
	maps.Copy(values, *req.Values)
	group.Values = values
	version, ok := catalogue.FindVersion(group.Datastore, group.Version)
	if !ok {
		return group, fault.Errorf(fault.Unprocessable, "%s %s is not offered any more, so its parameters are not known.", group.Datastore, group.Version)
	}
	return group, checkValues(version, group.Values)
}

// RemoveConfiguration deletes a group that no instance has.
func (cp *Plane) RemoveConfiguration(ctx context.Context, c Caller, id string) error {
	key := etcdschema.ConfigurationKey(c.Project, id)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		group, err := fault.Found(rec, err, "Configuration", id)
		if err == nil && len(group.Instances) > 0 {
			err = fault.Errorf(fault.BadRequest, "Configuration %s is attached to %d instances; detach it first.", group.ID, len(group.Instances))
		}
		if err != nil {
			return nil, err
		}
		ops, err := cp.Account(s, c.Project, func(u etcdschema.Usage) etcdschema.Usage {
			u.Configurations = max(0, u.Configurations-1)
			return u
		})
		return append(ops, etcdschema.Delete(key)), err
	})
	return err
}

// configurationFor reads the group with which a new instance of a version is made; the zero one for none.
func (cp *Plane) configurationFor(ctx context.Context, c Caller, ref string, version etcdschema.Version) (etcdschema.Configuration, error) {
	id := LastPart(ref)
	if id == "" {
		return etcdschema.Configuration{}, nil
	}
	group, err := cp.FindConfiguration(ctx, c, id)
	if err == nil && (group.Datastore != version.Datastore || group.Version != version.Name) {
		err = fault.Errorf(fault.BadRequest, "Configuration %s is for %s %s, not for %s %s.", id, group.Datastore, group.Version, version.Datastore, version.Name)
	}
	return group, err
}

// DefaultConfiguration is what an instance's server has without a group: its guest says so, or, when it cannot be asked, what it has said
// before of the same version and flavor.
func (cp *Plane) DefaultConfiguration(ctx context.Context, c Caller, id string) (map[string]string, error) {
	var said datastores.ConfigurationReply
	err := cp.CallInstance(ctx, c, id, false, datastores.MethodGetConfiguration, nil, &said)
	if err == nil || !slices.Contains([]fault.Kind{fault.Unavailable, fault.TimedOut, fault.Unprocessable}, fault.Of(err, "").Kind) {
		return said.Configuration, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keptPatience)
	defer cancel()
	in, e := cp.Instance(ctx, c, id)
	if e != nil {
		return nil, err
	}
	rec, e := etcdschema.Get(ctx, cp.Store, etcdschema.DefaultsKey(in.ID))
	if kept := rec.Value; e == nil && kept.Version == in.Version && kept.Flavor == in.Flavor {
		return kept.Configuration, nil
	}
	return nil, err
}

// keptPatience is how long one waits for what is kept, who has waited in vain for a guest.
const keptPatience = 5 * time.Second

// Attach gives an instance a configuration group, or with "" none, and returns when its server has the values
// or stores them for its next start.
func (cp *Plane) Attach(ctx context.Context, c Caller, instance, id string) error {
	in, err := cp.Instance(ctx, c, instance)
	if err != nil {
		return err
	}
	switch {
	case in.Clustered():
		return refusedToMember(in, lifecycle.AskConfigure)
	case id == "" && in.Configuration == "":
		return nil
	case id != "" && in.Configuration != "" && id != in.Configuration:
		return fault.Errorf(fault.BadRequest, "Instance %s has configuration %s attached; detach it first.", in.ID, in.Configuration)
	}
	if id != "" {
		if err := supports(in.Instance, method(datastores.MethodUpdateOverrides)); err != nil {
			return err
		}
		group, err := cp.FindConfiguration(ctx, c, id)
		if err != nil {
			return err
		}
		if group.Datastore != in.Datastore || group.Version != in.Version {
			return fault.Errorf(fault.BadRequest, "Configuration %s is for %s %s, and instance %s is %s %s.", id, group.Datastore, group.Version, in.ID, in.Datastore, in.Version)
		}
	}
	return cp.configure(ctx, c, in.ID, id)
}

// configure has an instance's guest use the values of a group, "" for none, and waits for its answer.
func (cp *Plane) configure(ctx context.Context, c Caller, instance, id string) error {
	event := lifecycle.Event{Type: lifecycle.AskConfigure, Target: &etcdschema.Target{Configuration: &id}, Request: c.Request, By: c.Who.UserName}
	after, err := cp.transition(ctx, c.Project, instance, event, func(p *plan.Plan) error {
		err := cp.reachable(p.Snap, p.Before.ID)
		if p.Event.Away = err != nil; etcdschema.Unread(err) {
			return err
		}
		return nil
	})
	if err != nil || after.Operation == nil {
		return instanceError(err, instance)
	}
	ctx, cancel := context.WithDeadline(ctx, after.Operation.Deadline)
	defer cancel()
	result, err := cp.awaitStep(ctx, after.Instance)
	switch {
	case err != nil || result.Error == nil:
		return err
	case result.Error.Kind == agentpoll.Invalid: // as when checkValues refuses them
		return fault.Errorf(fault.Unprocessable, "%s", result.Error.Message)
	}
	return result.Error
}

// reconfigure brings a group's changed values to every instance that has it. What could not be asked gets them with its next
// restart; the error tells of the first that refused them.
func (cp *Plane) reconfigure(ctx context.Context, c Caller, group etcdschema.Configuration) error {
	var first error
	for _, id := range slices.Clone(group.Instances) {
		err := cp.configure(ctx, c, id, group.ID)
		if err == nil || fault.IsNotFound(err) {
			continue
		}
		cp.Log.Warn("changed parameters wait for the restart of an instance", "instance_id", id, "configuration_id", group.ID, "err", err)
		if e := cp.requireRestart(ctx, c, id, group.ID); e != nil {
			err = e
		}
		if f := fault.Of(err, ""); first == nil && (f.Kind != fault.Unprocessable || fault.AgentSaid(err)) && f.Kind != fault.Unavailable {
			first = err
		}
	}
	return first
}

// requireRestart marks an instance whose server does not have the values of a group that it has or is about to have.
func (cp *Plane) requireRestart(ctx context.Context, c Caller, id, configuration string) error {
	key := etcdschema.InstanceKey(c.Project, id)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		in, changed := lifecycle.Outdate(rec.Value, configuration)
		if err != nil || !changed {
			return nil, err
		}
		return []etcdschema.Op{etcdschema.Put(key, in)}, nil
	})
	return err
}
