package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

const maxReplicaCount = 3 // of one request, Trove's

// Localities of a replication set.
const (
	affinity     = "affinity"
	antiAffinity = "anti-affinity"
)

// checkExtras refuses what does not go with a create of an instance of its own.
func checkExtras(req CreateRequest) error {
	switch {
	case req.ReplicaCount != nil:
		return fault.Errorf(fault.BadRequest, "replica_count goes with replica_of.")
	case req.Locality != "" && req.Locality != affinity && req.Locality != antiAffinity:
		return fault.Errorf(fault.BadRequest, "Validation error: instance['locality'] %q is not affinity or anti-affinity.", req.Locality)
	}
	return nil
}

// createReplicas makes one to three replicas of an instance, and returns the first.
func (cp *Plane) createReplicas(ctx context.Context, c Caller, req CreateRequest) (first lifecycle.Member, err error) {
	count := 1
	if req.ReplicaCount != nil {
		count = *req.ReplicaCount
	}
	if count < 1 || count > maxReplicaCount {
		return first, fault.Errorf(fault.BadRequest, "Validation error: replica_count %d is not 1 to %d.", count, maxReplicaCount)
	}
	o, err := cp.orderReplica(ctx, c, req)
	if err != nil {
		return first, err
	}
	if err := cp.roomFor(ctx, o.instance, count); err != nil {
		return first, err
	}
	for n := range count {
		one := o
		one.instance.ID = plan.NewID()
		if count > 1 {
			one.instance.Name = fmt.Sprintf("%s-%d", req.Name, n+1)
		}
		in, _, err := cp.place(ctx, c, one, false)
		if err != nil && n > 0 {
			if f := new(fault.Error); errors.As(err, &f) {
				err = &fault.Error{Kind: f.Kind, Message: fmt.Sprintf("%d of %d replicas were asked for, then: %s", n, count, f.Message), RetryAfter: f.RetryAfter, Limit: f.Limit}
			}
		}
		if err != nil {
			return first, err
		}
		if n == 0 {
			first = in
		}
	}
	return first, nil
}

// sourceOf reads the instance that a replica is to follow, with its set.
func sourceOf(s etcdschema.Snapshot, project, id string) (lifecycle.Member, error) {
	rec, err := etcdschema.Read(s, etcdschema.InstanceKey(project, id))
	in, err := fault.Found(rec, err, "Instance", id)
	if err != nil {
		return lifecycle.Member{}, err
	}
	return plan.MemberOf(s, in)
}

// hostsBeside are the hosts of the set that a replica joins, or moves within, when its locality minds them.
func hostsBeside(s etcdschema.Snapshot, source lifecycle.Member, replica, locality string) ([]string, error) {
	hosts := []string{source.Host}
	switch locality {
	case "":
		return nil, nil
	case affinity:
		return hosts, nil
	}
	for _, id := range source.Set.Replicas() {
		if id == replica {
			continue
		}
		other, err := etcdschema.Read(s, etcdschema.InstanceKey(source.Project, id))
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, other.Value.Host)
	}
	return hosts, nil
}

// orderReplica checks the create of a replica. What it is made of it has from its source.
func (cp *Plane) orderReplica(ctx context.Context, c Caller, req CreateRequest) (order, error) {
	var o order
	if !ValidName(req.Name) {
		return o, fault.Errorf(fault.BadRequest, "Validation error: instance['name'] must be a string of 1 to 255 characters with a letter or digit.")
	}
	for _, given := range []struct {
		name string
		is   bool
	}{
		{"flavorRef", req.FlavorRef != ""}, {"volume", req.Volume != nil}, {"datastore", req.Datastore.Type+req.Datastore.Version != ""},
		{"databases", len(req.Databases) > 0}, {"users", len(req.Users) > 0}, {"locality", req.Locality != ""}, {"restorePoint", req.RestorePoint != nil}, {"pitr", req.PITR != nil},
		{"modules", len(req.Modules) > 0}, {"user_data", req.UserData},
	} {
		if given.is {
			return o, fault.Errorf(fault.BadRequest, "A replica has the %s of its source; leave it out.", given.name)
		}
	}
	source, err := cp.member(ctx, c.Project, req.ReplicaOf)
	if err != nil {
		return o, instanceError(err, req.ReplicaOf)
	}
	if err := supports(source.Instance, method(datastores.MethodAttachReplica)); err != nil {
		return o, fault.Errorf(fault.BadRequest, "The datastore %s %s does not support replication.", source.Datastore, source.Version)
	}
	catalogue, err := cp.Catalogue(ctx)
	if err != nil {
		return o, err
	}
	o.hosts = catalogue.Hosts
	version, _ := catalogue.FindVersion(source.Datastore, source.Version)
	if version.Server.ReplicationStrategy == "" {
		return o, fault.Errorf(fault.BadRequest, "Replication of %s %s is turned off: its definition has no replication_strategy.", source.Datastore, source.Version)
	}
	guest, err := etcdschema.Get(ctx, cp.Store, etcdschema.InstanceGuestKey(source.ID))
	if err != nil {
		return o, err
	}
	now := cp.Now().UTC()
	o.guest, o.version, o.source = guest.Value, version, source.ID
	o.instance = etcdschema.Instance{
		Project: c.Project, Name: req.Name, Datastore: source.Datastore, Version: source.Version, VersionNumber: source.VersionNumber,
		Manager: source.Manager, Image: source.Image, Capabilities: source.Capabilities, Names: source.Names, UsersPerServer: source.UsersPerServer, FlavorID: source.FlavorID, Flavor: source.Flavor,
		VolumeGB: source.VolumeGB, VolumeType: source.VolumeType, Created: now, Updated: now, UsageTimeout: source.UsageTimeout,
		Service: datastores.Status{Service: datastores.StatusNew}, Public: source.Public, AllowedCIDRs: source.AllowedCIDRs, Firewall: source.Firewall,
		Locality: cmp.Or(source.Set.Locality, source.Locality), Zone: req.Zone, Protected: req.Protected, ReplicationStrategy: version.Server.ReplicationStrategy,
		RootEnabled: source.RootEnabled, RootEnabledAt: source.RootEnabledAt, RootEnabledBy: source.RootEnabledBy,
	}
	o.instance.Firewall.Peers = nil
	if req.Access != nil {
		if err := restrict(&o.instance, *req.Access, false); err != nil {
			return o, err
		}
	}
	configuration, err := cp.configurationFor(ctx, c, req.Configuration, version)
	o.instance.Configuration = configuration.ID
	o.need = plan.NeedOf(o.instance)
	return o, err
}

// Detach makes a replica independent.
func (cp *Plane) Detach(ctx context.Context, c Caller, id string) error {
	in, err := cp.Instance(ctx, c, id)
	if err != nil {
		return err
	}
	if in.ReplicaOf() == "" {
		return fault.Errorf(fault.BadRequest, "Instance %s is not a replica.", in.ID)
	}
	return cp.Ask(ctx, c, id, lifecycle.AskDetach)
}

// Follow makes a replica follow its source again. With discard it begins anew from its source; without, what it has and its source
// lacks is kept, and the operation fails when that keeps it from following.
func (cp *Plane) Follow(ctx context.Context, c Caller, id string, discard bool) error {
	_, err := cp.transition(ctx, c.Project, id, lifecycle.Event{Type: lifecycle.AskFollow, Request: c.Request, By: c.Who.UserName, Discard: discard},
		func(p *plan.Plan) error {
			if p.Before.ReplicaOf() == "" || p.Before.Operation != nil {
				return nil // the life cycle says more
			}
			return cmp.Or(supports(p.Before.Instance, method(datastores.MethodAttachReplica)), cp.reachable(p.Snap, id), cp.reachable(p.Snap, p.Before.Set.Source()))
		})
	return instanceError(err, id)
}

// Promote puts a replica in the place of its source.
func (cp *Plane) Promote(ctx context.Context, c Caller, id string) error {
	in, err := cp.Instance(ctx, c, id)
	if err != nil {
		return err
	}
	if in.ReplicaOf() == "" {
		return fault.Errorf(fault.BadRequest, "Instance %s is not a replica, so it cannot be promoted.", in.ID)
	}
	return cp.askSet(ctx, c, in, lifecycle.Event{Type: lifecycle.AskPromote, Member: in.ID, Request: c.Request, By: c.Who.UserName}, func(p *plan.Plan) error {
		if now, err := sourceOf(p.Snap, c.Project, id); err != nil || lifecycle.Ready(now) != nil {
			return err // the life cycle says more
		}
		return cmp.Or(cp.reachable(p.Snap, id), cp.reachable(p.Snap, p.Before.Set.Source())) // before anybody is made to refuse writes
	})
}

// Eject puts a replica in the place of a source whose guest has not been heard of for so long that it counts as gone.
func (cp *Plane) Eject(ctx context.Context, c Caller, id string) error {
	in, err := cp.Instance(ctx, c, id)
	if err != nil {
		return err
	}
	if len(in.Replicas()) == 0 {
		return fault.Errorf(fault.BadRequest, "Instance %s is not a replica source.", in.ID)
	}
	return cp.askSet(ctx, c, in, lifecycle.Event{Type: lifecycle.AskEject, Member: in.ID, Request: c.Request, By: c.Who.UserName}, func(p *plan.Plan) error {
		away, _, err := cp.away(p.Snap, in.ID)
		if err == nil && !away {
			err = fault.Errorf(fault.BadRequest, "The guest of instance %s is there, so it cannot be ejected; promote one of its replicas instead.", in.ID)
		}
		return err
	})
}

// Failover is a policy by which a replica takes the place of a lost source, as clients ask for it.
type Failover struct {
	Mode    string `json:"mode"`             // automatic or manual
	Acks    int    `json:"acknowledgements"` // of how many candidates a commit needs the acknowledgement; 0: 1
	Grace   int    `json:"grace_seconds"`    // for how long the source may be away; 0: 30
	Degrade string `json:"degrade"`          // asynchronous, or never: then writes wait as long as there are too few candidates; "": asynchronous
}

// Modes of failover, and what becomes of a source with too few candidates.
const (
	automatic    = "automatic"
	manual       = "manual"
	asynchronous = "asynchronous"
	never        = "never"
)

const (
	defaultGrace = 30
	longestGrace = 3600
)

// policy is what the set keeps; nil: failover is manual.
func (f Failover) policy() (*etcdschema.Failover, error) {
	p := etcdschema.Failover{Acks: cmp.Or(f.Acks, 1), Grace: cmp.Or(f.Grace, defaultGrace), Strict: f.Degrade == never}
	switch {
	case f.Mode != automatic && f.Mode != manual:
		return nil, fault.Errorf(fault.BadRequest, "Validation error: failover's mode %q is not automatic or manual.", f.Mode)
	case f.Mode == manual && f != Failover{Mode: manual}:
		return nil, fault.Errorf(fault.BadRequest, "Validation error: manual failover has no acknowledgements, grace_seconds or degrade.")
	case p.Acks < 1 || p.Acks > maxReplicas:
		return nil, fault.Errorf(fault.BadRequest, "Validation error: failover's acknowledgements %d is not 1 to %d.", f.Acks, maxReplicas)
	case p.Grace < 1 || p.Grace > longestGrace:
		return nil, fault.Errorf(fault.BadRequest, "Validation error: failover's grace_seconds %d is not 1 to %d.", f.Grace, longestGrace)
	case f.Degrade != "" && f.Degrade != asynchronous && f.Degrade != never:
		return nil, fault.Errorf(fault.BadRequest, "Validation error: failover's degrade %q is not asynchronous or never.", f.Degrade)
	case f.Mode == manual:
		return nil, nil
	}
	return &p, nil
}

// maxReplicas is how many replicas a source can be asked to wait for.
const maxReplicas = 20

// SetFailover says whether a replica takes the place of a source that is lost without being asked.
func (cp *Plane) SetFailover(ctx context.Context, c Caller, id string, f Failover) error {
	policy, err := f.policy()
	if err != nil {
		return err
	}
	in, err := cp.Instance(ctx, c, id)
	if err != nil {
		return err
	}
	if len(in.Replicas()) == 0 {
		return fault.Errorf(fault.BadRequest, "Instance %s is not a replica source; failover is a matter of a source with its replicas.", in.ID)
	}
	if policy != nil && !slices.Contains(in.Capabilities, datastores.CanFailover) && !slices.Contains(in.Capabilities, datastores.CanBoundedFailover) {
		return fault.Errorf(fault.NotImplemented, "The datastore %s %s does not support automatic failover.", in.Datastore, in.Version)
	}
	if policy != nil {
		policy.Bounded = slices.Contains(in.Capabilities, datastores.CanBoundedFailover)
	}
	return cp.askSet(ctx, c, in, lifecycle.Event{Type: lifecycle.AskArrange, Member: in.ID, Policy: policy, Request: c.Request, By: c.Who.UserName}, func(*plan.Plan) error { return nil })
}

// FailoverOf is the policy of a member's set, as clients see it.
func FailoverOf(m lifecycle.Member) Failover {
	p := m.Set.Failover
	if p == nil || p.Off {
		return Failover{Mode: manual}
	}
	f := Failover{Mode: automatic, Acks: p.Acks, Grace: p.Grace, Degrade: asynchronous}
	if p.Strict {
		f.Degrade = never
	}
	return f
}

// askSet begins an operation of a member's set, which that member leads.
func (cp *Plane) askSet(ctx context.Context, c Caller, m lifecycle.Member, event lifecycle.Event, check func(*plan.Plan) error) error {
	err := cp.transitionSet(ctx, c.Project, m.Set.ID, event, check)
	if fault.IsNotFound(err) {
		err = fault.Errorf(fault.Conflict, "Instance %s has just left its set.", m.ID)
	}
	return err
}
