package gateway

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// How long records of the past stay.
const (
	keepEvents     = 30 * 24 * time.Hour
	keepResults    = 10 * time.Minute
	keepEnrolments = time.Hour // a used one; an unused one lives as long as the create that waits for it
)

// newID makes an id that sorts by time.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// transition lets an event happen to an instance, in one transaction.
func (g *Gateway) transition(ctx context.Context, project, id string, event lifecycle.Event) (etcdschema.Instance, error) {
	key := etcdschema.InstanceKey(project, id)
	var after etcdschema.Instance
	_, err := g.store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		if !rec.Found {
			return nil, notFound("Instance", id)
		}
		var ops []etcdschema.Op
		ops, after, err = g.decide(s, rec.Value, event)
		return ops, err
	})
	if err == nil {
		g.deadlines.set(after)
	}
	return after, err
}

// decide turns the life cycle's decision into the changes of one transaction.
func (g *Gateway) decide(s etcdschema.Snapshot, in etcdschema.Instance, event lifecycle.Event) ([]etcdschema.Op, etcdschema.Instance, error) {
	d, err := lifecycle.Decide(in, event, g.now().UTC(), newID)
	if err != nil || !d.Changed {
		return nil, in, err
	}
	var ops []etcdschema.Op
	if d.Command != nil {
		if ops, err = g.stepOps(s, &d.Instance, *d.Command); err != nil {
			return nil, in, err
		}
	}
	if d.Drop != nil {
		ops = append(ops, etcdschema.Delete(etcdschema.CommandKey(d.Drop.Agent, d.Drop.ID)))
	}
	for _, e := range d.Events {
		d.Instance.LastEvent++
		ops = append(ops, etcdschema.Put(etcdschema.EventKey(in.ID, d.Instance.LastEvent), e).For(keepEvents))
	}
	if d.Gone {
		removal, err := removalOps(s, d.Instance)
		return append(ops, removal...), d.Instance, err
	}
	return append(ops, etcdschema.Put(etcdschema.InstanceKey(in.Project, in.ID), d.Instance)), d.Instance, nil
}

// stepOps enqueues a step's command with its arguments, and what goes with it.
func (g *Gateway) stepOps(s etcdschema.Snapshot, in *etcdschema.Instance, c lifecycle.Command) ([]etcdschema.Op, error) {
	cmd := etcdschema.Command{
		Command: agentpoll.Command{ID: c.ID, Method: c.Method, Deadline: c.Deadline},
		Project: in.Project, Instance: in.ID, Enqueued: g.now().UTC(), Step: true,
	}
	var args any
	var ops []etcdschema.Op
	secret := false
	switch c.Method {
	case deployments.MethodLaunch:
		token := agentpoll.NewSecret()
		wait := time.Until(in.Created.Add(lifecycle.UsageTimeout(*in)))
		ops = append(ops, enrolmentOp(token, etcdschema.Enrolment{Kind: agentpoll.Guest, AgentID: in.ID, Project: in.Project, Created: g.now().UTC()}, wait))
		launch, err := launchArgs(s, *in, token)
		if err != nil {
			return nil, err
		}
		args, secret = launch, true
	case deployments.MethodRemove:
		args = deployments.RemoveArgs{InstanceID: in.ID}
	case datastores.MethodPrepare:
		prepare, err := g.unsealPrepare(*in)
		if err != nil {
			return nil, err
		}
		in.Sealed = nil
		args, secret = prepare, true
	}
	if err := fillArgs(s, &cmd, c.Agent, args, secret); err != nil {
		return nil, err
	}
	return append(ops, etcdschema.Put(etcdschema.CommandKey(c.Agent, c.ID), cmd)), nil
}

// fillArgs puts arguments into a command, sealed to the agent when they hold a secret.
func fillArgs(s etcdschema.Snapshot, cmd *etcdschema.Command, agentID string, args any, secret bool) error {
	if args == nil {
		return nil
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	if !secret {
		cmd.Args = raw
		return nil
	}
	agent, err := etcdschema.Read(s, etcdschema.AgentKey(agentID))
	if err != nil {
		return err
	}
	if !agent.Found {
		return faultf(unavailable, "The agent %s has not enrolled.", agentID)
	}
	cmd.Sealed, err = agentpoll.Seal(agent.Value.PublicKey, cmd.ID, raw)
	return err
}

func launchArgs(s etcdschema.Snapshot, in etcdschema.Instance, token string) (deployments.LaunchArgs, error) {
	options, err := etcdschema.Read(s, etcdschema.InstanceGuestKey(in.ID))
	if err != nil {
		return deployments.LaunchArgs{}, err
	}
	common, err := datastores.CommonOptions(options.Value)
	return deployments.LaunchArgs{
		InstanceID: in.ID, Manager: in.Manager, Token: token, Address: in.Address, MountPoint: common.MountPoint,
		VolumeGB: in.VolumeGB, MemoryMB: in.Flavor.RAM, VCPUs: in.Flavor.VCPUs, Firewall: in.Firewall,
	}, err
}

// unsealPrepare takes out what has waited for the guest.
func (g *Gateway) unsealPrepare(in etcdschema.Instance) (datastores.PrepareArgs, error) {
	var args datastores.PrepareArgs
	if len(in.Sealed) == 0 {
		return args, nil
	}
	raw, err := g.keys.open(etcdschema.InstanceKey(in.Project, in.ID).String(), in.Sealed)
	if err != nil {
		return args, err
	}
	err = json.Unmarshal(raw, &args)
	return sealable(args), err
}

// sealable marks an instance's secrets for being marshalled: only for what is sealed at once.
func sealable(args datastores.PrepareArgs) datastores.PrepareArgs {
	args.RootPassword = args.RootPassword.ForSealing()
	for i := range args.Users {
		args.Users[i].Password = args.Users[i].Password.ForSealing()
	}
	return args
}

func enrolmentOp(token string, e etcdschema.Enrolment, ttl time.Duration) etcdschema.Op {
	return etcdschema.Put(etcdschema.EnrolmentKey(agentpoll.HashSecret(token)), e).For(max(ttl.Round(time.Second), time.Minute))
}

// removalOps deletes an instance and everything that was only there for it, and gives back what it had.
func removalOps(s etcdschema.Snapshot, in etcdschema.Instance) ([]etcdschema.Op, error) {
	ops := []etcdschema.Op{
		etcdschema.Delete(etcdschema.InstanceKey(in.Project, in.ID)),
		etcdschema.Delete(etcdschema.InstanceGuestKey(in.ID)),
		etcdschema.Delete(etcdschema.AgentKey(in.ID)),
		etcdschema.Delete(etcdschema.PresenceKey(in.ID)),
		etcdschema.DeleteAll(etcdschema.Commands(in.ID)),
	}
	if in.Host != "" {
		host, err := etcdschema.Read(s, etcdschema.HostKey(in.Host))
		if err != nil {
			return nil, err
		}
		if _, has := host.Value.Allocated[in.ID]; has {
			delete(host.Value.Allocated, in.ID) // decoded anew for this decision: nobody else's map
			ops = append(ops, etcdschema.Put(etcdschema.HostKey(in.Host), host.Value))
		}
	}
	usageKey := etcdschema.UsageKey(in.Project)
	usage, err := etcdschema.Read(s, usageKey)
	if err != nil {
		return nil, err
	}
	return append(ops, etcdschema.Put(usageKey, addUsage(usage.Value, in, -1))), nil
}

func notFound(what, id string) error { return faultf(itemNotFound, "%s %s cannot be found.", what, id) }

// mustFind turns a record that is not there into a 404.
func mustFind[T any](rec etcdschema.Record[T], err error, what, id string) (T, error) {
	if err == nil && !rec.Found {
		err = notFound(what, id)
	}
	return rec.Value, err
}
