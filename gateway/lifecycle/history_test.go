package lifecycle_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// history is a set as etcd holds it, beside what each of its servers has been told and has become.
type history struct {
	*rapid.T
	*cluster
	servers map[string]*server
	kept    map[string][]string // by member: the hosts where room is kept for it
	lets    map[string]string   // by replica: the source whose account waits for its guest
	aims    map[string]string   // by command: the source that it tells of
	told    map[string]told     // by command: what else
	acked   map[int]bool        // writes of which a client was told that they are safe
	writes  int
	bounded bool // sources wait for nobody, and hear of everybody whom they let in
}

// server is a database server with its guest.
type server struct {
	source   bool
	readOnly bool
	version  string
	gone     bool // with its guest
	stored
	left    bool                       // it was detached: it is nobody's any more
	follows string                     // the source
	former  *server                    // the member moves: the server where it was
	queue   []lifecycle.Command        // delivered, and perhaps withdrawn since
	seen    map[string]bool            // delivered since the guest was started
	journal map[string]lifecycle.Event // how each command ended
	sent    []lifecycle.Event          // results that were committed
}

func newHistory(t *rapid.T) *history {
	c := newCluster(rapid.SampledFrom([]int{1, 2, 3, 3, 12}).Draw(t, "replicas"))
	h := &history{T: t, cluster: c, servers: map[string]*server{}, kept: map[string][]string{}, lets: map[string]string{}, aims: map[string]string{},
		told: map[string]told{}, acked: map[int]bool{}}
	h.bounded = rapid.Bool().Draw(t, "bounded")
	for id := range c.records {
		h.servers[id] = newServer(c.member(id).ReplicaOf())
		h.kept[id] = []string{"host"}
	}
	for id := range c.records {
		h.servers["m0"].lets[id] = true
	}
	if rapid.Bool().Draw(t, "with a policy") {
		h.setPolicy(false)
	}
	return h
}

func newServer(follows string) *server {
	return &server{source: follows == "", follows: follows, seen: map[string]bool{}, journal: map[string]lifecycle.Event{}, stored: stored{lets: map[string]bool{}}}
}

// TestHistoriesOfSets lets anything happen to a set, in any order: what is asked for, deadlines, deliveries that are late or
// repeated, results that are lost, late or repeated, guests that start anew, commands that are withdrawn while they run,
// transactions that are refused, sources that are gone, replicas that move. No command is lost, every step is due at some time, and no two
// servers of a set ever acknowledge writes. In the end everything comes to rest, each member is on one host, and who is said to be well follows the source.
func TestHistoriesOfSets(t *testing.T) {
	histories(t, func(t *rapid.T) world { return newHistory(t) })
}

// world is what a history happens to.
type world interface {
	pass(time.Duration)
	happens() // something
	check()
	rest()
}

// histories lets anything happen to many worlds, in any order and time; at last each comes to rest.
func histories(t *testing.T, begin func(*rapid.T) world) {
	t.Helper()
	for range 20 { // times -rapid.checks: what matters is rare
		rapid.Check(t, func(t *rapid.T) {
			w := begin(t)
			for range rapid.IntRange(1, 80).Draw(t, "events") {
				w.pass(time.Duration(rapid.SampledFrom([]int{0, 0, 1, 1, 100, 1000}).Draw(t, "seconds")) * time.Second)
				w.happens()
				w.check()
			}
			w.rest()
		})
	}
}

func (h *history) pass(d time.Duration) { h.now = h.now.Add(d) }

func (h *history) happens() {
	if len(h.records) == 0 {
		return
	}
	id := rapid.SampledFrom(slices.Sorted(maps.Keys(h.records))).Draw(h.T, "member")
	s := h.servers[id]
	refused := rapid.IntRange(0, 9).Draw(h.T, "refused") == 0
	if rapid.IntRange(0, 2).Draw(h.T, "trouble") == 0 {
		h.trouble(id, refused)
		return
	}
	switch rapid.SampledFrom([]string{"ask", "ask", "deliver", "deliver", "execute", "execute", "execute", "answer", "answer", "repeat", "overdue", "start", "enrol", "round", "round", "round"}).Draw(h.T, "what") {
	case "ask":
		h.asks(id, refused)
	case "deliver":
		h.deliver(id)
	case "execute":
		h.execute(id, rapid.IntRange(0, 3).Draw(h.T, "ends badly") == 0)
	case "answer":
		h.answer(id, refused)
	case "repeat":
		if len(s.sent) > 0 {
			h.late(id, rapid.SampledFrom(s.sent).Draw(h.T, "result"))
		}
	case "enrol":
		h.enrol(id, refused)
	case "round":
		h.deliver(id)
		h.execute(id, false)
		h.answer(id, refused)
		h.enrol(id, refused)
	case "overdue":
		if rapid.Bool().Draw(h.T, "of the set") {
			id = "set"
		}
		h.commit(id, lifecycle.Event{Type: lifecycle.Overdue}, refused)
	case "start":
		s.queue, s.seen, s.gone, s.lost = nil, map[string]bool{}, s.gone && h.ejecting(), false
	}
}

// asks is what a person may ask for who looks first: an ejection is of a source that is gone, and a source that was fenced for a
// promotion that was given up is let go only when that has not come to its end.
func (h *history) asks(id string, refused bool) {
	in := h.records[id]
	kind := rapid.SampledFrom([]lifecycle.EventType{
		lifecycle.AskPromote, lifecycle.AskPromote, lifecycle.AskPromote, lifecycle.AskUpgradeSet, lifecycle.AskUpgradeSet, lifecycle.AskEject, lifecycle.AskDetach, lifecycle.AskDelete,
		lifecycle.AskRestart, lifecycle.AskBackup, lifecycle.AskFollow, lifecycle.AskFollow, lifecycle.AskMigrate, lifecycle.AskMigrate, lifecycle.ResetStatus, lifecycle.ResetStatus,
	}).Draw(h.T, "ask")
	switch {
	case kind == lifecycle.AskDelete && len(h.member(id).Replicas()) > 0:
		return // the gateway refuses it
	case kind == lifecycle.AskEject:
		if h.unknown() {
			return
		}
		h.servers[id].gone = true
	case kind == lifecycle.ResetStatus && in.Operation == nil && in.Failed != "" && h.unknown():
		return
	}
	discard := kind == lifecycle.AskFollow && rapid.Bool().Draw(h.T, "discard")
	e := lifecycle.Event{Type: kind, Backup: "b", Discard: discard}
	if kind == lifecycle.AskMigrate {
		if in.SetID == "" {
			return // TestHistoriesOfMoves has it
		}
		e.Target = &etcdschema.Target{Host: "host of another"}
		if slices.Contains(h.kept[id], e.Target.Host) {
			e.Target.Host = "host"
		}
		if slices.Contains(h.kept[id], e.Target.Host) {
			return // the gateway refuses it: what was there is not removed yet
		}
		e.Target.Address = "at " + e.Target.Host
	}
	if d := h.commit(id, e, refused); d.Changed && kind == lifecycle.AskMigrate {
		h.kept[id] = append(h.kept[id], e.Target.Host)
	}
}

// enrol lets the guest at the new place of a member that moves show its token.
func (h *history) enrol(id string, refused bool) {
	op := h.records[id].Operation
	if op == nil || refused || !lifecycle.Awaits(h.records[id], op.Started) || rapid.IntRange(0, 3).Draw(h.T, "the guest does not come") == 0 {
		return
	}
	s := newServer("nobody")
	s.former, s.version, s.lets = h.servers[id], h.servers[id].version, maps.Clone(h.servers[id].lets)
	h.servers[id] = s
	h.commit(id, lifecycle.Event{Type: lifecycle.Enrolled}, false)
}

// unknown reports whether a replica has become a source, or may still, of which the records know nothing.
func (h *history) unknown() bool {
	for id, s := range h.servers {
		running := slices.ContainsFunc(s.queue, func(c lifecycle.Command) bool { return c.Method == datastores.MethodEnableAsMaster })
		if h.member(id).ReplicaOf() != "" && !s.left && (s.source && !s.readOnly || running) {
			return true
		}
	}
	return false
}

// ejecting reports whether an ejection goes on, or was given up half way.
func (h *history) ejecting() bool {
	for _, in := range h.records {
		if in.Failed == lifecycle.Eject {
			return true
		}
	}
	op := h.set.Operation
	return op != nil && op.Kind == lifecycle.Eject && lifecycle.SetStepOf(h.set) != lifecycle.Rejoining
}

// commit lets an event happen, unless its transaction is refused: then nothing of it is written.
func (h *history) commit(id string, e lifecycle.Event, refused bool) lifecycle.Decision {
	h.Helper()
	d, err := h.decide(id, e)
	if len(h.read) > 25 {
		h.Fatalf("%s of %s has read %d members", e.Type, id, len(h.read))
	}
	if err != nil || refused {
		return lifecycle.Decision{}
	}
	if e.Type == lifecycle.Done || e.Type == lifecycle.Failed {
		h.withdraw(e.Command)
	}
	if !d.Changed {
		return d
	}
	if d.Drop != nil {
		h.withdraw(d.Drop.ID)
	}
	h.pending = append(h.pending, d.Commands...)
	h.write(d)
	for _, c := range d.Commands {
		h.aim(c)
		h.told[c.ID] = h.tells(c)
	}
	if former := h.servers[d.Instance.ID]; d.Agent != nil && former.former != nil {
		h.servers[d.Instance.ID] = former.former
	}
	for _, left := range d.Left {
		h.kept[left.Instance] = slices.DeleteFunc(h.kept[left.Instance], func(k string) bool { return k == left.Host })
	}
	if d.Gone {
		h.pending = slices.DeleteFunc(h.pending, func(c lifecycle.Command) bool { return c.Agent == id })
	}
	return d
}

// aim notes of which source a command tells, as package plan makes its arguments.
func (h *history) aim(c lifecycle.Command) {
	op := h.records[c.Subject].Operation
	switch {
	case c.Method == datastores.MethodReplicationSnapshot:
		h.lets[c.Subject] = h.set.Source()
	case c.Method == datastores.MethodPrepare, c.Method == datastores.MethodAttachReplica && op != nil && op.Kind == lifecycle.Follow:
		h.aims[c.ID] = h.lets[c.Subject]
	case c.Method == datastores.MethodAttachReplica:
		h.aims[c.ID] = h.set.Source()
	}
}

func (h *history) withdraw(id string) {
	h.pending = slices.DeleteFunc(h.pending, func(c lifecycle.Command) bool { return c.ID == id })
}

// deliver gives a guest what is pending and it was not given since it started.
func (h *history) deliver(id string) {
	s := h.servers[id]
	for _, c := range h.pending {
		if c.Agent == id && !s.seen[c.ID] && !s.gone && !s.lost && !s.cut {
			s.seen[c.ID] = true
			s.queue = append(s.queue, c)
		}
	}
}

// execute runs the command whose turn it is, even one that was withdrawn, and not again one that was run.
func (h *history) execute(id string, badly bool) {
	s := h.servers[id]
	if len(s.queue) == 0 || s.gone || s.lost {
		return
	}
	c := s.queue[0]
	s.queue = s.queue[1:]
	if _, ran := s.journal[c.ID]; ran {
		return
	}
	if c.Method == datastores.MethodUpgrade {
		h.mayUpgrade(id)
	}
	e := lifecycle.Event{Type: lifecycle.Failed, Command: c.ID, Error: agentpoll.Errorf(agentpoll.Internal, "broken")}
	if !badly && !h.now.After(c.Deadline) {
		at, err := h.does(id, c)
		if err != nil {
			e.Error = err
		} else {
			e = lifecycle.Event{Type: lifecycle.Done, Command: c.ID, Value: fmt.Appendf(nil, `{"id":"x","count":%d,"backup_id":"b"}`, at)}
		}
	}
	s.journal[c.ID] = e
	h.acknowledge()
}

// mayUpgrade fails when a source is upgraded before a replica that follows it, or two members at a time. A member that is given up or being deleted
// may still run a command that was withdrawn.
func (h *history) mayUpgrade(id string) {
	h.Helper()
	if op := h.records[id].Operation; op == nil || op.Kind == lifecycle.Delete {
		return
	}
	for _, m := range h.set.Members {
		in := h.records[m.ID]
		if m.ID == id || in.Operation != nil && in.Operation.Kind == lifecycle.Delete {
			continue
		}
		if op := in.Operation; op != nil && op.Kind == lifecycle.Upgrade {
			h.Fatalf("%s and %s are upgraded at a time: %+v", id, m.ID, h.set)
		}
		if h.set.Source() == id && h.servers[m.ID].version != "2" && in.Failed != lifecycle.Follow && m.State == "" {
			h.Fatalf("the source %s is upgraded before its replica %s", id, m.ID)
		}
	}
}

// answer sends the result of a command that is pending; hosts have theirs at once.
func (h *history) answer(id string, refused bool) {
	s := h.servers[id]
	if s.lost || s.cut {
		return
	}
	for _, c := range h.pending {
		e, ran := s.journal[c.ID]
		if strings.HasPrefix(c.Agent, "host") && c.Waiter == id {
			e, ran = lifecycle.Event{Type: lifecycle.Done, Command: c.ID}, true
		} else if c.Agent != id {
			continue
		}
		if !ran {
			continue
		}
		if waiter(c) == "" {
			h.withdraw(c.ID)
			return
		}
		h.commit(waiter(c), e, refused)
		if !refused {
			s.sent = append(s.sent, e)
		}
		return
	}
}

// late lets a result come that was committed before.
func (h *history) late(id string, e lifecycle.Event) {
	for _, of := range append(slices.Sorted(maps.Keys(h.records)), "set") {
		if d, err := h.decide(of, e); err == nil && d.Changed {
			h.Fatalf("the result of %s was taken twice, of %s", e.Command, of)
		}
	}
}

func (h *history) check() {
	h.Helper()
	acknowledge := map[string][]string{}
	for id, in := range h.records {
		if op := in.Operation; op != nil {
			h.waits(id, *op)
			if op.Kind == lifecycle.Delete {
				continue
			}
		}
		root := cmp.Or(in.SetID, id)
		if h.acknowledges(id) {
			acknowledge[root] = append(acknowledge[root], id)
		}
	}
	for root, ids := range acknowledge {
		if len(ids) > 1 {
			h.Fatalf("%v acknowledge writes, all of the set of %s: %+v", ids, root, h.records)
		}
	}
	if op := h.set.Operation; op != nil {
		h.waits("set", op.Operation)
	}
	for _, c := range h.pending {
		op := h.records[c.Waiter].Operation
		if set := h.set.Operation; c.Set != "" && set != nil {
			op = &set.Operation
		}
		if waiter(c) != "" && c.Method != deployments.MethodLaunch && (op == nil || op.Command != c.ID) { // a guest may enrol before its host says that it started it
			h.Fatalf("%+v is pending, and nobody waits for it", c)
		}
	}
	h.consistent(h.T)
}

// waits fails unless an operation is due at some time, and the command that it waits for is pending.
func (h *history) waits(id string, op etcdschema.Operation) {
	h.Helper()
	if op.Deadline.IsZero() {
		h.Fatalf("%s waits for ever: %+v", id, op)
	}
	_, is := h.records[op.Agent]
	is = is || strings.HasPrefix(op.Agent, "host") // else its commands have gone with it, and the deadline goes on without it
	if op.Command != "" && is && !slices.ContainsFunc(h.pending, func(c lifecycle.Command) bool { return c.ID == op.Command && waiter(c) == id }) {
		h.Fatalf("%s waits for %s, which is not pending: %+v", id, op.Command, op)
	}
}

// rest lets all guests be there and every command end. A set's step may be due within seconds.
func (h *history) rest() {
	h.Helper()
	for n := range 1200 {
		for _, id := range slices.Sorted(maps.Keys(h.servers)) {
			s := h.servers[id]
			s.gone, s.lost, s.cut = false, false, false
			h.receive(id, h.writes)
			if _, is := h.records[id]; is {
				h.deliver(id)
				h.execute(id, false)
				h.answer(id, false)
				h.enrol(id, false)
				h.report(id, false)
				h.commit(id, lifecycle.Event{Type: lifecycle.Overdue}, false)
			}
		}
		h.commit("set", lifecycle.Event{Type: lifecycle.Overdue}, false)
		if h.now = h.now.Add(time.Second); n%60 == 0 {
			h.now = h.now.Add(time.Hour)
		}
		if h.busy() {
			continue
		}
		h.now = h.now.Add(time.Minute)
		if h.look(nil, false); !h.busy() {
			h.rests()
			return
		}
	}
	h.Fatalf("it does not come to rest: %+v\n%+v %+v\n%s", h.records, h.set, h.set.Operation, h.servers)
}

// rests fails unless each member is where it is said to be, and who is said to be well follows the source.
func (h *history) rests() {
	h.Helper()
	for id, in := range h.records {
		if !slices.Equal(h.kept[id], []string{in.Host}) {
			h.Fatalf("%s is on %s, and room is kept on %v", id, in.Host, h.kept[id])
		}
		m := h.member(id)
		if in.SetID != "" && m.Set.Member(id).Address != in.Address {
			h.Fatalf("%s is at %q, and the others of its set find it at %q", id, in.Address, m.Set.Member(id).Address)
		}
		if of := m.ReplicaOf(); of != "" && in.Failed == "" && m.Set.Member(id).State == "" && h.servers[id].follows != of {
			h.Fatalf("%s follows %s, and its source is %s", id, h.servers[id].follows, of)
		}
	}
}
