package control

import (
	"context"
	"reflect"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Upgrade brings an instance to another version of its datastore, by name or id.
func (cp *Plane) Upgrade(ctx context.Context, c Caller, id, ref string) error {
	in, err := cp.Instance(ctx, c, id)
	if err != nil {
		return err
	}
	catalogue, err := cp.Settled(ctx)
	if err != nil {
		return err
	}
	d, _ := FindDatastore(catalogue, in.Datastore)
	v, ok := FindVersion(d.Versions, ref)
	switch {
	case ok && v.Name == in.Version:
		return cp.refresh(ctx, c, in.ID, v)
	case !ok || !v.Offered():
		return fault.Errorf(fault.BadRequest, "Datastore version '%s' of %s cannot be found or is not active.", ref, in.Datastore)
	case v.Server.Manager != in.Manager:
		return fault.Errorf(fault.BadRequest, "Version %s of %s has the manager %s; this instance has %s and cannot be upgraded to it.", v.Name, v.Datastore, v.Server.Manager, in.Manager)
	case in.SetID != "":
		return fault.Errorf(fault.Unprocessable, "Instance %s is in a replication set; detach its replicas before an upgrade.", in.ID)
	}
	if err := supports(in.Instance, method(datastores.MethodUpgrade)); err != nil {
		return err
	}
	if err := refusedBy(catalogue.Hosts, in.Host, v); err != nil {
		return err
	}
	if err := cp.checkUpgradeOf(ctx, c, in.Instance, v); err != nil {
		return err
	}
	ports := firewall(v.Server)
	target := &etcdschema.Target{Version: &etcdschema.Upgrade{
		Version: v.Name, VersionNumber: v.Server.VersionNumber, Capabilities: v.Server.Capabilities, Names: v.Server.Names, Ports: &ports, Image: v.Server.Image, Guest: v.Guest,
	}}
	_, err = cp.transition(ctx, c.Project, in.ID, lifecycle.Event{Type: lifecycle.AskUpgrade, Target: target, Request: c.Request})
	return instanceError(err, in.ID)
}

// refresh has an instance take what the definition of its version says today of what its manager can do, of names and of ports: its record
// keeps what was said when it was made, which may have been before its guest's program learned more.
func (cp *Plane) refresh(ctx context.Context, c Caller, id string, v etcdschema.Version) error {
	return cp.change(ctx, c, id, func(s etcdschema.Snapshot, in *etcdschema.Instance) ([]etcdschema.Op, error) {
		was := *in
		in.Capabilities, in.Names, in.UsersPerServer = v.Server.Capabilities, v.Server.Names, v.Server.UsersPerServer
		in.Firewall = in.Firewall.At(firewall(v.Server))
		if reflect.DeepEqual(was, *in) {
			return nil, nil
		}
		m, err := plan.MemberOf(s, *in)
		if err != nil {
			return nil, err
		}
		if err := lifecycle.Free(m); err != nil {
			return nil, err
		}
		ops := plan.Tell(in, etcdschema.Event{At: cp.Now().UTC(), Kind: "note", Message: "the instance has what the definition of its version says now", Request: c.Request})
		if in.Host == "" {
			return ops, nil
		}
		op, err := cp.Signer.Protect(*in, cp.Now().UTC())
		return append(ops, op), err
	})
}

// checkUpgradeOf refuses a version that does not take the values of the instance's configuration group.
func (cp *Plane) checkUpgradeOf(ctx context.Context, c Caller, in etcdschema.Instance, v etcdschema.Version) error {
	if in.Configuration == "" {
		return nil
	}
	group, err := cp.FindConfiguration(ctx, c, in.Configuration)
	if err != nil {
		return err
	}
	problems := datastores.CheckValues(v.Server.Parameters, group.Values)
	if len(problems) == 0 {
		return nil
	}
	return fault.Errorf(fault.Unprocessable, "Version %s of %s does not take a value of configuration group %s: %s. Take it out of the group, or detach the group, before the upgrade.",
		v.Name, v.Datastore, group.ID, listed(problems))
}
