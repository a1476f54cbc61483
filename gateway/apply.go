package gateway

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// How long records of the past stay.
const (
	keepEvents     = 30 * 24 * time.Hour
	keepResults    = 10 * time.Minute
	keepEnrolments = time.Hour // a used one; an unused one lives as long as the create that waits for it
)

// maxEvents is how many lines a timeline has at most.
const maxEvents = 1000

// tell adds a line to an instance's timeline, and takes the oldest away when it is full.
func tell(in *etcdschema.Instance, e etcdschema.Event) []etcdschema.Op {
	in.LastEvent++
	e.Message = shortened(e.Message)
	ops := []etcdschema.Op{etcdschema.Put(etcdschema.EventKey(in.ID, in.LastEvent), e).For(keepEvents)}
	if old := in.LastEvent - maxEvents; old > 0 {
		ops = append(ops, etcdschema.Delete(etcdschema.EventKey(in.ID, old)))
	}
	return ops
}

// newID makes an id that sorts by time.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// moves are the changes that a decision comes to.
type moves struct {
	ops     []etcdschema.Op
	after   etcdschema.Instance
	peers   []etcdschema.Instance
	removed []etcdschema.Backup // whose segments nobody needs any more
	gone    bool                // the instance was removed
}

// commit makes a decision and writes it in one transaction, then does what follows from it. decide may be called several
// times: only the moves that were committed count.
func (g *Gateway) commit(ctx context.Context, refs []etcdschema.Ref, decide func(etcdschema.Snapshot) (moves, error)) (moves, error) {
	var m moves
	_, err := g.store.Update(ctx, refs, func(s etcdschema.Snapshot) (_ []etcdschema.Op, err error) {
		m, err = decide(s)
		return m.ops, err
	})
	if err != nil {
		return moves{}, err
	}
	for _, in := range append(m.peers, m.after) {
		if in.ID != "" {
			g.deadlines.set(in)
		}
	}
	for _, b := range m.removed {
		g.removeLater(b)
	}
	if m.gone && len(m.after.Logs) > 0 {
		g.removeLogs(m.after)
	}
	return m, nil
}

// transition lets an event happen to an instance, in one transaction.
func (g *Gateway) transition(ctx context.Context, project, id string, event lifecycle.Event) (etcdschema.Instance, error) {
	return g.transitionWith(ctx, project, id, event, nil)
}

// transitionWith is transition with more to check and to write in the same transaction. more may change the event, and
// returns the snapshot with what it adds.
func (g *Gateway) transitionWith(ctx context.Context, project, id string, event lifecycle.Event,
	more func(s etcdschema.Snapshot, in etcdschema.Instance, event *lifecycle.Event) (etcdschema.Snapshot, []etcdschema.Op, error),
) (etcdschema.Instance, error) {
	key := etcdschema.InstanceKey(project, id)
	m, err := g.commit(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) (moves, error) {
		rec, err := etcdschema.Read(s, key)
		in, err := mustFind(rec, err, "Instance", id)
		if err != nil {
			return moves{}, err
		}
		var ops []etcdschema.Op
		event := event
		if more != nil {
			if s, ops, err = more(s, in, &event); err != nil {
				return moves{}, err
			}
		}
		m, err := g.decide(s, in, event)
		m.ops = append(ops, m.ops...)
		return m, err
	})
	return m.after, err
}

// decide turns the life cycle's decision into the changes of one transaction.
func (g *Gateway) decide(s etcdschema.Snapshot, in etcdschema.Instance, event lifecycle.Event) (moves, error) {
	m := moves{after: in}
	var err error
	if event.Type != lifecycle.Reported {
		if event.Peers, err = peersOf(s, in); err != nil {
			return m, err
		}
	}
	d, err := lifecycle.Decide(in, event, g.now().UTC(), newID)
	if err != nil || !d.Changed {
		return m, err
	}
	c := &carrier{Gateway: g, s: s, before: in, event: event, d: &d, peers: event.Peers}
	for _, step := range []func() error{c.admit, c.backups, c.commands, c.refund, c.membership, c.options} {
		if err := step(); err != nil {
			return m, err
		}
	}
	if d.Drop != nil {
		c.put(etcdschema.Delete(etcdschema.CommandKey(d.Drop.Agent, d.Drop.ID)))
	}
	for _, e := range d.Events {
		c.put(tell(&d.Instance, e)...)
	}
	for _, p := range d.Peers {
		c.put(etcdschema.Put(etcdschema.InstanceKey(p.Project, p.ID), p))
	}
	m.after, m.peers, m.removed = d.Instance, d.Peers, c.removed
	if d.Gone {
		removal, err := removalOps(c.s, d.Instance)
		m.ops, m.gone = append(c.ops, removal...), true
		return m, err
	}
	m.ops = append(c.ops, etcdschema.Put(etcdschema.InstanceKey(in.Project, in.ID), d.Instance))
	return m, nil
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

// carrier carries out one decision.
type carrier struct {
	*Gateway
	s      etcdschema.Snapshot
	before etcdschema.Instance
	event  lifecycle.Event
	d      *lifecycle.Decision
	peers  []etcdschema.Instance // as they were
	ops    []etcdschema.Op

	removed []etcdschema.Backup
}

func (c *carrier) put(ops ...etcdschema.Op) { c.ops = append(c.ops, ops...) }

// record is the record of a member as the decision leaves it, to be changed further; nil when there is none.
func (c *carrier) record(id string) *etcdschema.Instance {
	is := func(in etcdschema.Instance) bool { return in.ID == id }
	if is(c.d.Instance) {
		return &c.d.Instance
	}
	if i := slices.IndexFunc(c.d.Peers, is); i >= 0 {
		return &c.d.Peers[i]
	}
	if i := slices.IndexFunc(c.peers, is); i >= 0 {
		return &c.peers[i]
	}
	return nil
}

// refund gives back what a failed resize would have taken.
func (c *carrier) refund() error {
	if c.d.Refund == nil {
		return nil
	}
	ops, err := resized(c.s, lifecycle.Become(c.d.Instance, *c.d.Refund), c.d.Instance)
	c.put(ops...)
	return err
}

// options replaces the guest options of an instance that has got another version.
func (c *carrier) options() error {
	op := c.before.Operation
	if op == nil || op.Target == nil || op.Target.Version == nil || c.d.Instance.Version == c.before.Version {
		return nil
	}
	c.put(etcdschema.Put(etcdschema.InstanceGuestKey(c.before.ID), op.Target.Version.Guest))
	return nil
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
