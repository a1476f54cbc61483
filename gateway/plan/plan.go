// Package plan makes the list of writes of one transaction: from what was read and one decision of package lifecycle, the commands, backups,
// groups, usage and lines of timelines that go with it. It reads nothing but its snapshot, and writes nothing itself.
package plan

import (
	"reflect"
	"slices"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/keyring"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// Plan is what one transaction changes: the life cycle's decision over an event, and all that has to be written with it. It is made
// anew for every attempt.
type Plan struct {
	keys   *keyring.Keyring
	signer Signer
	now    time.Time

	Snap   etcdschema.Snapshot // what was read, and what the plan has put
	Before etcdschema.Instance
	Event  lifecycle.Event
	peers  []etcdschema.Instance // other members of the set, as they were
	d      lifecycle.Decision

	ops []etcdschema.Op
}

// New begins the plan of an event that happens now to an instance.
func New(keys *keyring.Keyring, signer Signer, now time.Time, s etcdschema.Snapshot, in etcdschema.Instance, event lifecycle.Event) *Plan {
	return &Plan{keys: keys, signer: signer, now: now.UTC(), Snap: s, Before: in, Event: event}
}

func (p *Plan) Put(ops ...etcdschema.Op) { p.ops = append(p.ops, ops...) }

// Decide lets the event happen, and lists all that follows.
func (p *Plan) Decide() (Moves, error) {
	m := Moves{Ops: p.ops, After: p.Before}
	var err error
	if p.Event.Type != lifecycle.Reported {
		if p.peers, err = PeersOf(p.Snap, p.Before); err != nil {
			return m, err
		}
	}
	p.Event.Peers = p.peers
	if p.d, err = lifecycle.Decide(p.Before, p.Event, p.now, NewID); err != nil || !p.d.Changed {
		return m, err
	}
	for _, step := range []func() error{p.letThrough, p.backups, p.commands, p.refund, p.membership, p.options, p.records} {
		if err := step(); err != nil {
			return m, err
		}
	}
	return Moves{Ops: p.ops, After: p.d.Instance}, nil
}

// records writes the instance, the members that have changed, and the timeline, when nothing more will be told.
func (p *Plan) records() error {
	if p.d.Drop != nil {
		p.Put(etcdschema.Delete(etcdschema.CommandKey(p.d.Drop.Agent, p.d.Drop.ID)))
	}
	for _, e := range p.d.Events {
		p.Put(Tell(&p.d.Instance, e)...)
	}
	for _, peer := range p.d.Peers {
		p.Put(Due(&peer, p.now)...)
		p.Put(etcdschema.Put(etcdschema.InstanceKey(peer.Project, peer.ID), peer))
	}
	if p.d.Gone {
		_, none := MoveDue(DueInstance, p.Before.Project, p.Before.ID, p.d.Instance.Due, time.Time{}, p.now)
		p.Put(none...)
		if len(p.d.Instance.Logs) > 0 {
			p.Put(etcdschema.Put(etcdschema.DueKey(DueLogs, etcdschema.DueTime(p.now), p.Before.Project, p.Before.ID), etcdschema.Due{}))
		}
		removal, err := removalOps(p.Snap, p.d.Instance)
		p.Put(append(removal, deletedOp(p.d.Instance, p.now))...)
		return err
	}
	p.Put(Due(&p.d.Instance, p.now)...)
	p.Put(etcdschema.Put(etcdschema.InstanceKey(p.Before.Project, p.Before.ID), p.d.Instance))
	return nil
}

// record is the record of a member as the decision leaves it, to be changed further; nil when there is none.
func (p *Plan) record(id string) *etcdschema.Instance {
	is := func(in etcdschema.Instance) bool { return in.ID == id }
	if is(p.d.Instance) {
		return &p.d.Instance
	}
	if i := slices.IndexFunc(p.d.Peers, is); i >= 0 {
		return &p.d.Peers[i]
	}
	if i := slices.IndexFunc(p.peers, is); i >= 0 {
		return &p.peers[i]
	}
	return nil
}

// refund gives back what a failed resize would have taken.
func (p *Plan) refund() error {
	if p.d.Refund == nil {
		return nil
	}
	ops, err := Resized(p.Snap, lifecycle.Become(p.d.Instance, *p.d.Refund), p.d.Instance)
	p.Put(ops...)
	return err
}

// options replaces the guest options of an instance that has got another version, and has its host open the ports of that.
func (p *Plan) options() error {
	op := p.Before.Operation
	if op == nil || op.Target == nil || op.Target.Version == nil || p.d.Instance.Version == p.Before.Version {
		return nil
	}
	p.Put(etcdschema.Put(etcdschema.InstanceGuestKey(p.Before.ID), op.Target.Version.Guest))
	if p.Before.Host == "" || reflect.DeepEqual(p.Before.Firewall, p.d.Instance.Firewall) {
		return nil
	}
	return p.tellHost(p.Before.ID)
}

// PeersOf reads the other members of an instance's replication set.
func PeersOf(s etcdschema.Snapshot, in etcdschema.Instance) ([]etcdschema.Instance, error) {
	read := func(id string) (etcdschema.Record[etcdschema.Instance], error) {
		return etcdschema.Read(s, etcdschema.InstanceKey(in.Project, id))
	}
	var source etcdschema.Instance
	if in.ReplicaOf != "" {
		rec, err := read(in.ReplicaOf)
		if err != nil {
			return nil, err
		}
		source = rec.Value
	}
	var peers []etcdschema.Instance
	for _, id := range lifecycle.Members(in, source) {
		rec, err := read(id)
		if err != nil {
			return nil, err
		}
		if rec.Found {
			peers = append(peers, rec.Value)
		}
	}
	return peers, nil
}

func EnrolmentOp(token agentpoll.Token, e etcdschema.Enrolment, ttl time.Duration) etcdschema.Op {
	return etcdschema.Put(etcdschema.EnrolmentKey(agentpoll.HashSecret(token.Secret)), e).For(max(ttl.Round(time.Second), time.Minute))
}

// deletedOp keeps for a while what is told of an instance that has ended.
func deletedOp(in etcdschema.Instance, now time.Time) etcdschema.Op {
	return etcdschema.Put(etcdschema.DeletedKey(in.Project, in.ID), etcdschema.Deleted{At: now, Instance: etcdschema.Instance{
		ID: in.ID, Project: in.Project, Name: in.Name, Datastore: in.Datastore, Version: in.Version, VersionNumber: in.VersionNumber, Manager: in.Manager,
		FlavorID: in.FlavorID, Flavor: in.Flavor, VolumeGB: in.VolumeGB, VolumeType: in.VolumeType, Public: in.Public,
		Created: in.Created, Updated: now, Prepared: in.Prepared, Host: in.Host, Address: in.Address, ReplicaOf: in.ReplicaOf,
		RootEnabled: in.RootEnabled, RootEnabledAt: in.RootEnabledAt, RootEnabledBy: in.RootEnabledBy,
		Service: datastores.Status{Service: datastores.StatusShutdown},
	}}).For(keepDeleted)
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
	return append(ops, etcdschema.Put(usageKey, AddUsage(usage.Value, in, -1))), nil
}
