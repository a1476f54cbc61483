package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

// How many members a request may bring, and a cluster have: all that one request makes is one transaction, and when a member comes or
// goes the hosts of all are told in one.
const (
	maxMembersOfRequest = 12
	maxMembers          = 32
)

// ClusterRequest is the body of POST clusters.
type ClusterRequest struct {
	Name      string `json:"name"`
	Datastore struct {
		Type    string `json:"type"`
		Version string `json:"version"`
	} `json:"datastore"`
	Instances     []ClusterMemberRequest `json:"instances"`
	Locality      string                 `json:"locality"`
	Configuration string                 `json:"configuration"` // id or href
	Extended      map[string]StringOrID  `json:"extended_properties"`
	// RestorePoint is what the cluster begins with. Trove's have none.
	RestorePoint *RestorePoint `json:"restorePoint"`
}

// ClusterMemberRequest asks for one member. Its size is that of all others; modules it has of its own.
type ClusterMemberRequest struct {
	CreateRequest
	Type      string `json:"type"`
	RelatedTo string `json:"related_to"`
}

// Cluster is a cluster with its members, in the order in which they came.
type Cluster struct {
	etcdschema.Set
	Instances []lifecycle.Member
}

// NewCluster makes a cluster: its record, and all its members, or nothing of it. password is root's, "" when there is none.
func (cp *Plane) NewCluster(ctx context.Context, c Caller, req ClusterRequest) (made Cluster, password string, err error) {
	if !ValidName(req.Name) {
		return made, "", fault.Errorf(fault.BadRequest, "Validation error: cluster['name'] must be a string of 1 to 255 characters with a letter or digit.")
	}
	if n := len(req.Instances); n < 1 || n > maxMembersOfRequest {
		return made, "", fault.Errorf(fault.BadRequest, "Validation error: cluster['instances'] must name 1 to %d members, not %d; more can be added with grow.", maxMembersOfRequest, n)
	}
	first := req.Instances[0].CreateRequest
	first.Name, first.Locality, first.Configuration = req.Name, req.Locality, req.Configuration
	first.Datastore.Type, first.Datastore.Version = req.Datastore.Type, req.Datastore.Version
	if err := alike(req.Instances); err != nil {
		return made, "", err
	}
	o, err := cp.orderMembers(ctx, c, first, req.RestorePoint)
	if err != nil {
		return made, "", err
	}
	shape := *o.version.Server.Cluster
	copies, err := copiesOf(req.Extended, shape, len(req.Instances))
	if err == nil {
		err = o.shareOut(shape, max(1, len(req.Instances)/(copies+1)))
	}
	if err != nil {
		return made, "", err
	}
	set := etcdschema.Set{
		ID: plan.NewID(), Project: c.Project, Kind: etcdschema.SetCluster, Name: req.Name, Datastore: o.instance.Datastore, Version: o.instance.Version,
		Shape: &shape, Copies: copies, Locality: req.Locality, Configuration: o.instance.Configuration, Created: o.instance.Created,
	}
	plan.SealSecret(cp.Keys, &set)
	made, err = cp.commitMembers(ctx, c, o, req.Instances, func(etcdschema.Snapshot) (etcdschema.Set, error) { return set, nil }, lifecycle.AskBuild)
	return made, o.password, err
}

// orderMembers checks the create of members, all by the first one: see [Plane.order]. point is what their cluster begins with; nil: nothing.
func (cp *Plane) orderMembers(ctx context.Context, c Caller, first CreateRequest, point *RestorePoint) (o order, err error) {
	for _, given := range []struct {
		name string
		is   bool
	}{
		{"databases", len(first.Databases) > 0}, {"users", len(first.Users) > 0}, {"replica_of", first.ReplicaOf+first.SlaveOf != ""},
		{"restorePoint", first.RestorePoint != nil}, {"pitr", first.PITR != nil}, {"user_data", first.UserData},
	} {
		if given.is {
			return o, fault.Errorf(fault.BadRequest, "Validation error: a member of a cluster takes no %s; leave it out.", given.name)
		}
	}
	if first.RestorePoint = point; point != nil && point.Instance != "" {
		return o, fault.Errorf(fault.BadRequest, "Validation error: a cluster begins with a backup: cluster['restorePoint'] takes backupRef and project_id alone.")
	}
	first.With = nil // each has its own
	if o, err = cp.order(ctx, c, first); err != nil {
		return o, err
	}
	if !o.version.Server.ClusterSupport || o.version.Server.Cluster == nil {
		return o, fault.Errorf(fault.NotImplemented, "Clusters are not supported for %s %s.", o.instance.Datastore, o.instance.Version)
	}
	o.walled = len(o.version.Server.PeerTCPPorts) > 0
	return o, nil
}

// alike refuses members of several sizes: none may be the narrow place of the others.
func alike(members []ClusterMemberRequest) error {
	for i, m := range members {
		first := members[0]
		switch {
		case LastPart(string(m.FlavorRef)) != LastPart(string(first.FlavorRef)):
			return fault.Errorf(fault.BadRequest, "The flavor for each instance in a cluster must be the same; that of instances[%d] is another.", i)
		case (m.Volume == nil) != (first.Volume == nil) || m.Volume != nil && *m.Volume != *first.Volume:
			return fault.Errorf(fault.BadRequest, "The volume for each instance in a cluster must be the same; that of instances[%d] is another.", i)
		case m.Type != "" || m.RelatedTo != "":
			return fault.Errorf(fault.BadRequest, "instances[%d]: members of this datastore have no type and are related to none; leave type and related_to out. How many copies there are of each part is said by extended_properties, as {\"replicas\": 1}.", i)
		}
	}
	return nil
}

// copiesOf reads how many copies there are to be of each shard.
func copiesOf(extended map[string]StringOrID, shape datastores.ClusterShape, members int) (int, error) {
	copies := 0
	for name, value := range extended {
		n, err := strconv.Atoi(string(value))
		if name != "replicas" || err != nil || n < 0 || n > shape.MaxReplicas {
			return 0, fault.Errorf(fault.BadRequest, "Validation error: cluster['extended_properties'] may hold replicas, a number of 0 to %d, and nothing else.", shape.MaxReplicas)
		}
		copies = n
	}
	if least := max(1, shape.MinMembers); members < least {
		return 0, fault.Errorf(fault.BadRequest, "The number of instances for your initial cluster must be at least %d, not %d.", least, members)
	}
	return copies, whole(copies, members)
}

// whole refuses shards that would lack a copy.
func whole(copies, members int) error {
	if members%(copies+1) != 0 {
		return fault.Errorf(fault.BadRequest, "%d members cannot be shared out: with %d replicas of each part the number must be a multiple of %d.", members, copies, copies+1)
	}
	return nil
}

// commitMembers makes the members of a cluster that read gives, in one transaction: places, records, first commands, and what the project
// uses. ask says whether the cluster is new.
func (cp *Plane) commitMembers(ctx context.Context, c Caller, o order, asked []ClusterMemberRequest, read func(etcdschema.Snapshot) (etcdschema.Set, error), ask lifecycle.EventType) (made Cluster, err error) {
	hosts, err := etcdschema.List(ctx, cp.Store, etcdschema.Hosts(), etcdschema.Page{})
	if err != nil {
		return made, err
	}
	for _, m := range asked {
		if err := knownZone(m.Zone, hosts.Records); err != nil {
			return made, err
		}
	}
	refs := []etcdschema.Ref{etcdschema.UsageKey(c.Project), etcdschema.QuotaKey(c.Project)}
	moves, err := cp.Commit(ctx, refs, func(s etcdschema.Snapshot) (plan.Moves, error) {
		set, err := read(s)
		if err != nil {
			return plan.Moves{}, err
		}
		made = Cluster{}
		n := newMembers{cp: cp, set: set, order: o, hosts: hosts.Records, on: map[string][]string{}}
		members, err := n.place(s, asked)
		if err != nil {
			return plan.Moves{}, err
		}
		ops, err := cp.Account(s, c.Project, func(u etcdschema.Usage) etcdschema.Usage {
			for _, in := range members {
				u = plan.AddUsage(u, in, 1)
			}
			return u
		})
		if err != nil {
			return plan.Moves{}, err
		}
		return n.write(s.After(ops...), c, members, ops, ask, &made)
	})
	made.Set = moves.After.Set
	for i := range made.Instances {
		made.Instances[i].Set = made.Set
	}
	return made, err
}

// newMembers are members in the making: of one attempt at a transaction.
type newMembers struct {
	cp    *Plane
	set   etcdschema.Set
	order order
	hosts []etcdschema.Record[etcdschema.HostRecord] // as they were listed, and then as they will be
	on    map[string][]string                        // host -> shards of the set's members there
	ops   []etcdschema.Op
	new   []etcdschema.SetMember
}

// place finds a host for each. Without a locality they go where the fewest of their own shard, and then of their own cluster, are.
func (n *newMembers) place(s etcdschema.Snapshot, asked []ClusterMemberRequest) (members []etcdschema.Instance, err error) {
	shards := n.shards(len(asked))
	var beside []string
	names := map[string]bool{}
	for _, m := range n.set.Members {
		rec, err := etcdschema.Read(s, etcdschema.InstanceKey(n.set.Project, m.ID))
		if err != nil {
			return nil, err
		}
		n.on[rec.Value.Host] = append(n.on[rec.Value.Host], m.Shard)
		beside = append(beside, rec.Value.Host)
		names[rec.Value.Name] = true
	}
	for i, want := range asked {
		o := n.order
		in := o.instance
		in.ID, in.SetID, in.Locality, in.Zone = plan.NewID(), n.set.ID, "", want.Zone
		if in.Restore = nil; i < len(o.restores) {
			in.Restore = o.restores[i]
		}
		in.Name = cmp.Or(want.Name, unusedName(n.set.Name, names))
		names[in.Name] = true
		if !ValidName(in.Name) {
			return nil, fault.Errorf(fault.BadRequest, "Validation error: the name of instances[%d] must be a string of 1 to 255 characters with a letter or digit.", i)
		}
		if want.With != nil {
			if in.Modules, err = want.With(in, o.version); err != nil {
				return nil, err
			}
		}
		o.instance = in
		o.instance.Locality = n.set.Locality
		if n.set.Locality != "" {
			o.beside = beside
		}
		if err := n.find(s, o, &in, shards[i]); err != nil {
			return nil, err
		}
		n.on[in.Host] = append(n.on[in.Host], shards[i])
		beside = append(beside, in.Host)
		n.new = append(n.new, etcdschema.SetMember{ID: in.ID, Role: etcdschema.RoleNode, State: etcdschema.MemberMaking, Address: in.Address, Shard: shards[i]})
		if err := plan.SealPrepare(n.cp.Keys, &in, o.prepare); err != nil {
			return nil, err
		}
		members = append(members, in)
	}
	return members, nil
}

// unusedName is one that no other member of the cluster has.
func unusedName(cluster string, names map[string]bool) string {
	for n := 1; ; n++ {
		if name := fmt.Sprintf("%s-member-%d", cluster, n); !names[name] {
			return name
		}
	}
}

// find puts a member on the best host that can take it.
func (n *newMembers) find(s etcdschema.Snapshot, o order, in *etcdschema.Instance, shard string) error {
	fit, _ := o.fitting(n.hosts)
	id := func(h etcdschema.Record[etcdschema.HostRecord]) string { return etcdschema.Hosts().Name(h.Key) }
	zones := map[string]int{}
	for _, h := range n.hosts {
		zones[h.Value.Zone] += len(n.on[id(h)])
	}
	same := func(h etcdschema.Record[etcdschema.HostRecord]) (k int) {
		for _, there := range n.on[id(h)] {
			if shard != "" && there == shard {
				k++
			}
		}
		return k
	}
	slices.SortStableFunc(fit, func(a, b etcdschema.Record[etcdschema.HostRecord]) int {
		return cmp.Or(cmp.Compare(same(a), same(b)), cmp.Compare(len(n.on[id(a)]), len(n.on[id(b)])), cmp.Compare(zones[a.Value.Zone], zones[b.Value.Zone]),
			cmp.Compare(Free(b.Value).MemoryMB, Free(a.Value).MemoryMB), cmp.Compare(a.Key, b.Key))
	})
	for _, h := range fit {
		host, err := n.cp.allocate(s.After(n.ops...), in, id(h), o)
		if errors.Is(err, errHostFull) {
			continue
		}
		if err != nil {
			return err
		}
		n.ops = append(n.ops, etcdschema.Put(etcdschema.HostKey(in.Host), host))
		n.hosts = slices.Clone(n.hosts)
		at := slices.IndexFunc(n.hosts, func(one etcdschema.Record[etcdschema.HostRecord]) bool { return one.Key == h.Key })
		n.hosts[at].Value = host
		return nil
	}
	return fault.Errorf(fault.Unprocessable, "There is no place for all members of the cluster, and none was made. Of member %s: %s", in.Name, o.noHost(n.hosts))
}

// shards names the part of the data of each new member. Shards that lack a copy are filled first; of the rest the first ones are each the
// first of a new shard, the others have copies.
func (n *newMembers) shards(count int) []string {
	names := make([]string, count)
	if n.set.Shape.MaxReplicas == 0 {
		return names
	}
	last := 0
	for _, m := range n.set.Members {
		if k, err := strconv.Atoi(m.Shard); err == nil {
			last = max(last, k)
		}
	}
	filled := copy(names, lackingCopies(n.set))
	first := max(1, (count-filled)/(n.set.Copies+1))
	for i := range names[filled:] {
		names[filled+i] = strconv.Itoa(last + 1 + i%first)
	}
	return names
}

// lackingCopies are shards of a cluster that have fewer members than there are to be, each as often as it lacks one. A shard of which nobody
// is left is none.
func lackingCopies(set etcdschema.Set) (shards []string) {
	have := map[string]int{}
	for _, m := range set.Members {
		if m.Shard != "" && (m.State == "" || m.State == etcdschema.MemberMaking || m.State == etcdschema.MemberOutside) {
			have[m.Shard]++
		}
	}
	for _, shard := range slices.Sorted(maps.Keys(have)) {
		for range set.Copies + 1 - have[shard] {
			shards = append(shards, shard)
		}
	}
	return shards
}

// write is everything that the new members and their set are made of.
func (n *newMembers) write(s etcdschema.Snapshot, c Caller, members []etcdschema.Instance, ops []etcdschema.Op, ask lifecycle.EventType, made *Cluster) (plan.Moves, error) {
	add := func(more ...etcdschema.Op) {
		ops = append(ops, more...)
		s = s.After(more...)
	}
	add(n.ops...)
	after := n.set
	after.Members = slices.Concat(n.set.Members, n.new)
	for _, in := range members {
		in.Firewall.Peers = plan.OthersIn(after, in)
		for _, join := range []func(etcdschema.Snapshot, etcdschema.Instance) ([]etcdschema.Op, error){plan.JoinConfiguration, plan.JoinModules, plan.JoinBackups} {
			joined, err := join(s, in)
			if err != nil {
				return plan.Moves{}, err
			}
			add(joined...)
		}
		add(etcdschema.Put(etcdschema.InstanceGuestKey(in.ID), n.order.guest))
		m, err := n.cp.Plan(s, lifecycle.Member{Instance: in, Set: after}, lifecycle.Event{Type: lifecycle.Created, Request: c.Request, By: c.Who.UserName}).Decide()
		if err != nil {
			return plan.Moves{}, err
		}
		add(m.Ops...)
		made.Instances = append(made.Instances, m.After)
	}
	m, err := n.cp.Plan(s, lifecycle.Member{Set: n.set}, lifecycle.Event{Type: ask, New: n.new, Request: c.Request, By: c.Who.UserName}).Decide()
	m.Ops = append(ops, m.Ops...)
	return m, err
}
