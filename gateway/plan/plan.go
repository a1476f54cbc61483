// Package plan makes the list of writes of one transaction: from what was read and one decision of package lifecycle, the commands, backups,
// groups, usage and lines of timelines that go with it. It reads nothing but its snapshot, and writes nothing itself.
package plan

import (
	"cmp"
	"reflect"
	"slices"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
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
	Before lifecycle.Member    // of a set's event a set alone
	Event  lifecycle.Event
	d      lifecycle.Decision

	ops    []etcdschema.Op
	unsent []string // ids of commands that could not be made
}

// New begins the plan of an event that happens now to an instance, or to a set: then it is in a Member without an instance.
func New(keys *keyring.Keyring, signer Signer, now time.Time, s etcdschema.Snapshot, m lifecycle.Member, event lifecycle.Event) *Plan {
	return &Plan{keys: keys, signer: signer, now: now.UTC(), Snap: s, Before: m, Event: event}
}

func (p *Plan) Put(ops ...etcdschema.Op) { p.ops = append(p.ops, ops...) }

func (p *Plan) project() string { return cmp.Or(p.Before.Project, p.Before.Set.Project) }

// Decide lets the event happen, and lists all that follows.
func (p *Plan) Decide() (Moves, error) {
	m := Moves{Ops: p.ops, After: p.Before}
	var err error
	p.Event.Read = p.look
	if p.Before.ID == "" {
		p.d, err = lifecycle.DecideSet(p.Before.Set, p.Event, p.now, NewID)
	} else {
		p.d, err = lifecycle.Decide(p.Before, p.Event, p.now, NewID)
	}
	if err != nil || !p.d.Changed {
		return m, err
	}
	for _, step := range []func() error{p.letThrough, p.backups, p.kept, p.commands, p.refund, p.membership, p.options, p.move, p.schedules, p.maintenance, p.records} {
		if err := step(); err != nil {
			return m, err
		}
	}
	m = Moves{Ops: p.ops, After: lifecycle.Member{Instance: p.d.Instance, Set: p.d.Set}}
	if is := p.d.Set.Failovers; is.Count > p.Before.Set.Failovers.Count {
		took := time.Duration(is.Seconds * float64(time.Second))
		m.FailedOver = &took
	}
	return m, nil
}

// records writes the timelines, the instance, the members that have changed, and their set, when nothing more will be told.
func (p *Plan) records() error {
	if p.d.Drop != nil {
		// What was never sent is nowhere to be read: its id is another one whenever the decision is made again.
		if !slices.Contains(p.unsent, p.d.Drop.ID) {
			if err := p.withdrawn(p.d.Drop.Agent, p.d.Drop.ID); err != nil {
				return err
			}
		}
		p.Put(etcdschema.Delete(etcdschema.CommandKey(p.d.Drop.Agent, p.d.Drop.ID)))
	}
	for _, line := range p.d.Events {
		in, err := p.touch(line.Instance)
		if err != nil {
			return err
		}
		p.Put(Tell(in, line.Event)...)
	}
	for _, peer := range p.d.Peers {
		p.Put(Due(&peer, p.now)...)
		p.Put(etcdschema.Put(etcdschema.InstanceKey(peer.Project, peer.ID), peer))
	}
	switch key := etcdschema.SetKey(p.d.Set.Project, p.d.Set.ID); {
	case p.d.SetGone:
		_, none := MoveDue(DueSet, p.d.Set.Project, p.d.Set.ID, p.d.Set.Due, time.Time{}, p.now)
		p.Put(append(none, etcdschema.Delete(key))...)
	case p.d.SetChanged:
		p.Put(SetDue(&p.d.Set, p.now)...)
		p.Put(etcdschema.Put(key, p.d.Set))
	}
	switch {
	case p.d.Gone:
		_, none := MoveDue(DueInstance, p.project(), p.Before.ID, p.d.Instance.Due, time.Time{}, p.now)
		p.Put(none...)
		if len(p.d.Instance.Logs) > 0 {
			p.Put(etcdschema.Put(etcdschema.DueKey(DueLogs, etcdschema.DueTime(p.now), p.Before.Project, p.Before.ID), etcdschema.Due{}))
		}
		if p.d.Instance.RPO > 0 {
			closed, err := CloseArchive(p.Snap, p.project(), p.Before.ID, "the instance was deleted", p.now)
			if err != nil {
				return err
			}
			p.Snap = p.Snap.After(closed...)
			p.Put(closed...)
		}
		drills, err := wakeDrills(p.Snap, p.project(), p.Before.ID, p.now)
		if err != nil {
			return err
		}
		p.Put(drills...)
		objectives, err := WakeObjectives(p.Snap, p.project(), p.Before.ID, p.now)
		if err != nil {
			return err
		}
		p.Put(objectives...)
		removal, err := removalOps(p.Snap, p.d.Instance)
		p.Put(append(removal, deletedOp(p.d.Instance, p.now))...)
		return err
	case p.d.Instance.ID != "":
		p.Put(Due(&p.d.Instance, p.now)...)
		p.Put(etcdschema.Put(etcdschema.InstanceKey(p.project(), p.d.Instance.ID), p.d.Instance))
	}
	return nil
}

// look reads another member as it was; the zero Instance when there is none.
func (p *Plan) look(id string) (etcdschema.Instance, error) {
	rec, err := etcdschema.Read(p.Snap, etcdschema.InstanceKey(p.project(), id))
	return rec.Value, err
}

// touch returns the record of a member as the decision leaves it, to be changed further; it is written.
func (p *Plan) touch(id string) (*etcdschema.Instance, error) {
	if id == p.d.Instance.ID {
		return &p.d.Instance, nil
	}
	if i := slices.IndexFunc(p.d.Peers, func(in etcdschema.Instance) bool { return in.ID == id }); i >= 0 {
		return &p.d.Peers[i], nil
	}
	in, err := p.look(id)
	if err == nil && in.ID == "" {
		err = fault.NotFound("Instance", id)
	}
	if err != nil {
		return &etcdschema.Instance{}, err
	}
	p.d.Peers = append(p.d.Peers, in)
	return &p.d.Peers[len(p.d.Peers)-1], nil
}

// refund gives back what a failed resize would have taken.
func (p *Plan) refund() error {
	if p.d.Refund == nil {
		return nil
	}
	in, err := p.touch(p.d.Refund.Instance)
	if err != nil {
		return err
	}
	ops, err := Resized(p.Snap, lifecycle.Become(*in, p.d.Refund.Target), *in)
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
	told, err := p.signer.Protect(p.d.Instance, p.now)
	p.Put(told)
	return err
}

func EnrolmentOp(token agentpoll.Token, e etcdschema.Enrolment, ttl time.Duration) etcdschema.Op {
	return etcdschema.Put(etcdschema.EnrolmentKey(agentpoll.HashSecret(token.Secret)), e).For(max(ttl.Round(time.Second), time.Minute))
}

// deletedOp keeps for a while what is told of an instance that has ended.
func deletedOp(in etcdschema.Instance, now time.Time) etcdschema.Op {
	return etcdschema.Put(etcdschema.DeletedKey(in.Project, in.ID), etcdschema.Deleted{At: now, Instance: etcdschema.Instance{
		ID: in.ID, Project: in.Project, Name: in.Name, Datastore: in.Datastore, Version: in.Version, VersionNumber: in.VersionNumber, Manager: in.Manager,
		FlavorID: in.FlavorID, Flavor: in.Flavor, VolumeGB: in.VolumeGB, VolumeType: in.VolumeType, Public: in.Public,
		Created: in.Created, Updated: now, Prepared: in.Prepared, Host: in.Host, Address: in.Address,
		RootEnabled: in.RootEnabled, RootEnabledAt: in.RootEnabledAt, RootEnabledBy: in.RootEnabledBy,
		Service: datastores.Status{Service: datastores.StatusShutdown},
	}}).For(keepDeleted)
}

// removalOps deletes an instance and everything that was only there for it, and gives back what it had.
func removalOps(s etcdschema.Snapshot, in etcdschema.Instance) ([]etcdschema.Op, error) {
	ops := []etcdschema.Op{
		etcdschema.Delete(etcdschema.InstanceKey(in.Project, in.ID)),
		etcdschema.Delete(etcdschema.InstanceGuestKey(in.ID)),
		etcdschema.Delete(etcdschema.DefaultsKey(in.ID)),
		etcdschema.Delete(etcdschema.AgentKey(in.ID)),
		etcdschema.Delete(etcdschema.PresenceKey(in.ID)),
		etcdschema.DeleteAll(etcdschema.Commands(in.ID)),
		etcdschema.Delete(etcdschema.AuditKey(in.ID)),
		etcdschema.DeleteAll(etcdschema.AllAuditRows(in.ID)),
	}
	for _, id := range in.Schedules {
		ops = append(ops, etcdschema.Delete(etcdschema.ScheduleKey(in.Project, id)))
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
