package control

import (
	"context"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

// refusedToMember refuses what a member of a cluster cannot be asked for by itself. Trove's 501.
func refusedToMember(m lifecycle.Member, what lifecycle.EventType) error {
	instead := lifecycle.Instead(what)
	if !m.Clustered() || instead == "" {
		return nil
	}
	return fault.Errorf(fault.NotImplemented, "Operation not supported for instances that are part of a cluster: %s is a member of cluster %s; %s.", m.ID, m.SetID, instead)
}

// AskCluster lets a cluster begin what needs no more than the event says, or, with checks, what they do not refuse either.
func (cp *Plane) AskCluster(ctx context.Context, c Caller, id string, event lifecycle.Event, checks ...func(*plan.Plan) error) error {
	event.Request = c.Request
	isCluster := func(p *plan.Plan) error {
		if p.Before.Set.Kind != etcdschema.SetCluster {
			return fault.NotFound("Cluster", id)
		}
		return nil
	}
	return clusterError(cp.transitionSet(ctx, c.Project, id, event, append([]func(*plan.Plan) error{isCluster}, checks...)...), id)
}

// Grow adds members to a cluster, of the size of those that are there.
func (cp *Plane) Grow(ctx context.Context, c Caller, id string, asked []ClusterMemberRequest) (Cluster, error) {
	was, err := cp.FindCluster(ctx, c.Project, id)
	if err != nil {
		return was, err
	}
	if n := len(asked); n < 1 || n > maxMembersOfRequest || len(was.Members)+n > maxMembers {
		return was, fault.Errorf(fault.BadRequest, "Validation error: grow must name 1 to %d members, and a cluster has %d at most; it has %d, and %d were named.", maxMembersOfRequest, maxMembers, len(was.Members), n)
	}
	if err := alike(asked); err != nil {
		return was, err
	}
	if err := whole(was.Copies, len(asked)); err != nil {
		return was, err
	}
	first := asked[0].CreateRequest
	first.Name, first.Configuration = was.Name, was.Configuration
	first.Datastore.Type, first.Datastore.Version, first.Datastore.VersionNumber = was.Datastore, was.Version, ""
	o, err := cp.orderMembers(ctx, c, first)
	if err != nil {
		return was, err
	}
	for _, m := range was.Instances {
		if m.FlavorID != o.instance.FlavorID || m.VolumeGB != o.instance.VolumeGB {
			return was, fault.Errorf(fault.BadRequest, "The members of cluster %s have flavor %s and a volume of %d GB, and so must new ones.", id, m.FlavorID, m.VolumeGB)
		}
		o.instance.Public, o.instance.AllowedCIDRs, o.instance.Firewall = m.Public, m.AllowedCIDRs, m.Firewall
		o.instance.RootEnabled, o.instance.RootEnabledAt, o.instance.RootEnabledBy = m.RootEnabled, m.RootEnabledAt, m.RootEnabledBy
	}
	o.prepare.RootPassword = datastores.Secret{} // joining brings what the others have
	grown, err := cp.commitMembers(ctx, c, o, asked, func(s etcdschema.Snapshot) (etcdschema.Set, error) {
		set, err := clusterOf(s, c.Project, id)
		if err == nil && len(set.Members)+len(asked) > maxMembers {
			err = fault.Errorf(fault.Conflict, "Cluster %s has just got other members; ask again.", id)
		}
		return set, err
	}, lifecycle.AskGrow)
	return grown, clusterError(err, id)
}

// Shrink takes members out of a cluster and deletes them, when what they have is elsewhere.
func (cp *Plane) Shrink(ctx context.Context, c Caller, id string, members []string) error {
	return cp.AskCluster(ctx, c, id, lifecycle.Event{Type: lifecycle.AskShrink, Members: members}, func(p *plan.Plan) error {
		if len(members) == 0 {
			return fault.Errorf(fault.BadRequest, "Validation error: shrink must name at least one member.")
		}
		for i, m := range members {
			if p.Before.Set.Member(m).ID == "" || slices.Contains(members[:i], m) {
				return fault.Errorf(fault.BadRequest, "Instance %s is not a member of cluster %s, or was named twice.", m, id)
			}
		}
		return nil
	})
}

// Roll has every member do something, one after the other; who is not there keeps it from beginning.
func (cp *Plane) Roll(ctx context.Context, c Caller, id, each string, target *etcdschema.Target) error {
	return cp.AskCluster(ctx, c, id, lifecycle.Event{Type: lifecycle.AskRoll, Each: each, Target: target}, func(p *plan.Plan) error {
		for _, m := range p.Before.Set.Members {
			if err := cp.reachable(p.Snap, m.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// ConfigureCluster gives all members a configuration group, or with "" none.
func (cp *Plane) ConfigureCluster(ctx context.Context, c Caller, id, group string) error {
	cluster, err := cp.FindCluster(ctx, c.Project, id)
	if err != nil {
		return err
	}
	if group != "" {
		if cluster.Configuration != "" && cluster.Configuration != group {
			return fault.Errorf(fault.BadRequest, "Cluster %s has configuration %s attached; detach it first.", id, cluster.Configuration)
		}
		first := cluster.Instances[0]
		if err := supports(first.Instance, method(datastores.MethodUpdateOverrides)); err != nil {
			return err
		}
		found, err := cp.FindConfiguration(ctx, c, group)
		if err != nil {
			return err
		}
		if found.Datastore != cluster.Datastore || found.Version != cluster.Version {
			return fault.Errorf(fault.BadRequest, "Configuration %s is for %s %s, and cluster %s is %s %s.", group, found.Datastore, found.Version, id, cluster.Datastore, cluster.Version)
		}
	}
	return cp.Roll(ctx, c, id, lifecycle.Configure, &etcdschema.Target{Configuration: &group})
}

// FindCluster reads a cluster with its members, all of one moment.
func (cp *Plane) FindCluster(ctx context.Context, project, id string) (found Cluster, err error) {
	_, err = cp.Store.Update(ctx, []etcdschema.Ref{etcdschema.SetKey(project, id)}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		found = Cluster{}
		set, err := clusterOf(s, project, id)
		if err != nil {
			return nil, err
		}
		found.Set = set
		for _, m := range set.Members {
			rec, err := etcdschema.Read(s, etcdschema.InstanceKey(project, m.ID))
			if err != nil {
				return nil, err
			}
			found.Instances = append(found.Instances, lifecycle.Member{Instance: rec.Value, Set: set})
		}
		return nil, nil
	})
	found.Instances = cp.Observed(ctx, found.Instances...)
	return found, clusterError(err, id)
}

// clusterOf reads the record of a cluster.
func clusterOf(s etcdschema.Snapshot, project, id string) (etcdschema.Set, error) {
	rec, err := etcdschema.Read(s, etcdschema.SetKey(project, id))
	set, err := fault.Found(rec, err, "Cluster", id)
	if err == nil && set.Kind != etcdschema.SetCluster {
		err = fault.NotFound("Cluster", id)
	}
	return set, err
}

func clusterError(err error, id string) error {
	if fault.IsNotFound(err) {
		return fault.NotFound("Cluster", id)
	}
	return err
}
