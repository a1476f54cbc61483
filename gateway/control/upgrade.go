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

// Upgrade brings an instance to another version of its datastore, by name or id; asked of a source, its set. Each of also adds to the transaction
// that begins it, of which there is none when nothing but the definition is read anew.
func (cp *Plane) Upgrade(ctx context.Context, c Caller, id, ref string, also ...func(*plan.Plan) error) error {
	in, err := cp.Instance(ctx, c, id)
	if err != nil {
		return err
	}
	catalogue, v, err := cp.versionFor(ctx, in.Instance, ref)
	switch {
	case err != nil:
		return err
	case v.Name == in.Version && len(in.Replicas()) == 0:
		return cp.refresh(ctx, c, in.ID, v)
	case in.ReplicaOf() != "":
		return fault.Errorf(fault.Unprocessable, "Instance %s is a replica: ask for the upgrade of its source %s, and the whole set is upgraded.", in.ID, in.ReplicaOf())
	case in.SetID != "":
		return cp.upgradeSet(ctx, c, in, catalogue, v, also...)
	}
	if err := cp.mayBecome(ctx, c, in.Instance, catalogue, v); err != nil {
		return err
	}
	_, err = cp.transition(ctx, c.Project, in.ID, lifecycle.Event{Type: lifecycle.AskUpgrade, Target: toVersion(v), Request: c.Request, By: c.Who.UserName}, also...)
	return instanceError(err, in.ID)
}

// versionFor finds the version that is named, by name or id, of an instance's datastore, when it can be brought to it: its own, too.
func (cp *Plane) versionFor(ctx context.Context, in etcdschema.Instance, ref string) (catalogue etcdschema.Catalogue, v etcdschema.Version, err error) {
	if catalogue, err = cp.Settled(ctx); err != nil {
		return catalogue, v, err
	}
	d, _ := FindDatastore(catalogue, in.Datastore)
	v, ok := FindVersion(d.Versions, ref)
	switch {
	case !ok || v.Name != in.Version && !v.Offered():
		err = fault.Errorf(fault.BadRequest, "Datastore version '%s' of %s cannot be found or is not active.", ref, in.Datastore)
	case v.Server.Manager != in.Manager:
		err = fault.Errorf(fault.BadRequest, "Version %s of %s has the manager %s; this instance has %s and cannot be upgraded to it.", v.Name, v.Datastore, v.Server.Manager, in.Manager)
	}
	return catalogue, v, err
}

// UpgradeCluster brings those members of a cluster to a version that have another one, one after the other. When all have it each takes what
// its definition says now.
func (cp *Plane) UpgradeCluster(ctx context.Context, c Caller, id, ref string, also ...func(*plan.Plan) error) error {
	cluster, err := cp.FindCluster(ctx, c.Project, id)
	if err != nil {
		return err
	}
	catalogue, v, err := cp.versionFor(ctx, cluster.Instances[0].Instance, ref)
	if err != nil {
		return err
	}
	lag := cluster.Version != v.Name
	for _, m := range cluster.Instances {
		if m.Version != v.Name {
			lag = true
			if err := cp.mayBecome(ctx, c, m.Instance, catalogue, v); err != nil {
				return err
			}
		}
	}
	if lag {
		return cp.Roll(ctx, c, id, lifecycle.Upgrade, toVersion(v), also...)
	}
	for _, m := range cluster.Instances {
		if err := cp.refresh(ctx, c, m.ID, v); err != nil {
			return err
		}
	}
	return nil
}

// upgradeSet brings those members of a source's set to a version that have another one. When all have it each takes what its definition says
// now.
func (cp *Plane) upgradeSet(ctx context.Context, c Caller, source lifecycle.Member, catalogue etcdschema.Catalogue, v etcdschema.Version, also ...func(*plan.Plan) error) error {
	members := append(source.Replicas(), source.ID)
	var lag []string
	for _, id := range members {
		m, err := cp.Instance(ctx, c, id)
		if err != nil {
			return err
		}
		if m.Version == v.Name {
			continue
		}
		lag = append(lag, id)
		was, _ := catalogue.FindVersion(m.Datastore, m.Version)
		if is := v.Server.ReplicationStream; is == "" || is != was.Server.ReplicationStream {
			return fault.Errorf(fault.Unprocessable, "A replica of version %s of %s cannot follow a source of version %s, so a set cannot be upgraded from one to the other. Detach or delete the replicas of instance %s, upgrade that, and make the replicas anew.",
				v.Name, v.Datastore, m.Version, source.ID)
		}
		if err := cp.mayBecome(ctx, c, m.Instance, catalogue, v); err != nil {
			return err
		}
	}
	if len(lag) == 0 {
		for _, id := range members {
			if err := cp.refresh(ctx, c, id, v); err != nil {
				return err
			}
		}
		return nil
	}
	event := lifecycle.Event{Type: lifecycle.AskUpgradeSet, Member: source.ID, Target: toVersion(v), Request: c.Request, By: c.Who.UserName}
	return cp.askSet(ctx, c, source, event, func(p *plan.Plan) error {
		for _, id := range append(p.Before.Set.Replicas(), p.Before.Set.Source()) { // before any of them is touched
			m, err := sourceOf(p.Snap, c.Project, id)
			if err != nil || m.Failed == "" && lifecycle.Ready(m) != nil {
				return err // the life cycle says more
			}
			if err := cp.reachable(p.Snap, id); err != nil {
				return err
			}
		}
		return all(p, also)
	})
}

// all asks each of also, until one refuses.
func all(p *plan.Plan, also []func(*plan.Plan) error) error {
	for _, f := range also {
		if err := f(p); err != nil {
			return err
		}
	}
	return nil
}

// mayBecome refuses a version that an instance cannot have.
func (cp *Plane) mayBecome(ctx context.Context, c Caller, in etcdschema.Instance, catalogue etcdschema.Catalogue, v etcdschema.Version) error {
	if err := supports(in, method(datastores.MethodUpgrade)); err != nil {
		return err
	}
	if err := refusedBy(catalogue.Hosts, in.Host, v); err != nil {
		return err
	}
	return cp.checkUpgradeOf(ctx, c, in, v)
}

// toVersion is what an instance becomes with an upgrade.
func toVersion(v etcdschema.Version) *etcdschema.Target {
	ports := firewall(v.Server)
	return &etcdschema.Target{Version: &etcdschema.Upgrade{
		Version: v.Name, VersionNumber: v.Server.VersionNumber, Capabilities: v.Server.Capabilities, Names: v.Server.Names, Ports: &ports, Image: v.Server.Image, Guest: v.Guest,
	}}
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
