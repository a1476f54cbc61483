package gateway

import (
	"slices"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// plan is what one transaction changes: the life cycle's decision over an event, and all that has to be written with it. It is made
// anew for every attempt.
type plan struct {
	keys   *Keyring
	signer signer
	now    time.Time

	s      etcdschema.Snapshot // what was read, and what the plan has put
	before etcdschema.Instance
	event  lifecycle.Event
	peers  []etcdschema.Instance // other members of the set, as they were
	d      lifecycle.Decision

	ops     []etcdschema.Op
	removed []etcdschema.Backup // whose segments nobody needs any more
}

// plan begins one.
func (g *Gateway) plan(s etcdschema.Snapshot, in etcdschema.Instance, event lifecycle.Event) *plan {
	return &plan{keys: g.keys, signer: g.signer, now: g.now().UTC(), s: s, before: in, event: event}
}

func (p *plan) put(ops ...etcdschema.Op) { p.ops = append(p.ops, ops...) }

// decide lets the event happen, and lists all that follows.
func (p *plan) decide() (moves, error) {
	m := moves{ops: p.ops, after: p.before}
	var err error
	if p.event.Type != lifecycle.Reported {
		if p.peers, err = peersOf(p.s, p.before); err != nil {
			return m, err
		}
	}
	p.event.Peers = p.peers
	if p.d, err = lifecycle.Decide(p.before, p.event, p.now, newID); err != nil || !p.d.Changed {
		return m, err
	}
	for _, step := range []func() error{p.letThrough, p.backups, p.commands, p.refund, p.membership, p.options, p.records} {
		if err := step(); err != nil {
			return m, err
		}
	}
	return moves{ops: p.ops, after: p.d.Instance, peers: p.d.Peers, removed: p.removed, gone: p.d.Gone}, nil
}

// records writes the instance, the members that have changed, and the timeline, when nothing more will be told.
func (p *plan) records() error {
	if p.d.Drop != nil {
		p.put(etcdschema.Delete(etcdschema.CommandKey(p.d.Drop.Agent, p.d.Drop.ID)))
	}
	for _, e := range p.d.Events {
		p.put(tell(&p.d.Instance, e)...)
	}
	for _, peer := range p.d.Peers {
		p.put(etcdschema.Put(etcdschema.InstanceKey(peer.Project, peer.ID), peer))
	}
	if p.d.Gone {
		removal, err := removalOps(p.s, p.d.Instance)
		p.put(removal...)
		return err
	}
	p.put(etcdschema.Put(etcdschema.InstanceKey(p.before.Project, p.before.ID), p.d.Instance))
	return nil
}

// record is the record of a member as the decision leaves it, to be changed further; nil when there is none.
func (p *plan) record(id string) *etcdschema.Instance {
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
func (p *plan) refund() error {
	if p.d.Refund == nil {
		return nil
	}
	ops, err := resized(p.s, lifecycle.Become(p.d.Instance, *p.d.Refund), p.d.Instance)
	p.put(ops...)
	return err
}

// options replaces the guest options of an instance that has got another version.
func (p *plan) options() error {
	op := p.before.Operation
	if op == nil || op.Target == nil || op.Target.Version == nil || p.d.Instance.Version == p.before.Version {
		return nil
	}
	p.put(etcdschema.Put(etcdschema.InstanceGuestKey(p.before.ID), op.Target.Version.Guest))
	return nil
}

// peersOf reads the other members of an instance's replication set.
func peersOf(s etcdschema.Snapshot, in etcdschema.Instance) ([]etcdschema.Instance, error) {
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

func enrolmentOp(token agentpoll.Token, e etcdschema.Enrolment, ttl time.Duration) etcdschema.Op {
	return etcdschema.Put(etcdschema.EnrolmentKey(agentpoll.HashSecret(token.Secret)), e).For(max(ttl.Round(time.Second), time.Minute))
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
