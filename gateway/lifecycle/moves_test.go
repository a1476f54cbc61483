package lifecycle_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// moves is an instance that moves between hosts, as etcd holds it, beside what each host really has of it.
type moves struct {
	*rapid.T
	in       etcdschema.Instance
	now      time.Time
	newID    func() string
	pending  []lifecycle.Command
	removals map[string]string // by host: the command by which it has to remove what it has
	kept     map[string]bool   // hosts whose room counts as taken
	charged  int               // memory, in MB, that the project is charged for
	trusted  string            // the host whose guest's word counts
	places   map[string]*place
	order    map[string]int       // of commands, by the time at which they were made
	walls    map[string]bool      // by command: whether it has a host let nobody in
	begun    map[string]time.Time // by launch: the migration that it is of
	backup   map[int]bool         // what the copy holds
	copied   bool
	written  map[int]bool // what any server has acknowledged
	sent     []lifecycle.Event
}

// place is what a host has of the instance: a server, once that was made, and its guest.
type place struct {
	guest             bool // it was launched
	served            bool // it has a server
	told              bool // its address, to clients: they keep it, whatever becomes of the place
	walled            bool // nobody is let in
	running, readOnly bool
	data              map[int]bool
	begun             time.Time // the migration that its guest's token is of
	enrolled          bool
	removed           int // the order of the last removal
	queue             []lifecycle.Command
	seen              map[string]bool
	journal           map[string]lifecycle.Event
}

func newPlace() *place {
	return &place{data: map[int]bool{}, seen: map[string]bool{}, journal: map[string]lifecycle.Event{}}
}

func newMoves(t *rapid.T) *moves {
	m := &moves{
		T: t, now: start, removals: map[string]string{}, kept: map[string]bool{"host": true}, trusted: "host",
		places: map[string]*place{"host": newPlace(), "other": newPlace()}, order: map[string]int{}, walls: map[string]bool{}, begun: map[string]time.Time{}, written: map[int]bool{},
	}
	next := ids()
	m.newID = func() string { id := next(); m.order[id] = len(m.order) + 1; return id }
	m.in = etcdschema.Instance{ID: "guest", Project: "p", Host: "host", Address: "at host", Created: start, Updated: start, Prepared: true, UsageTimeout: 600}
	m.in.Service.Service = datastores.StatusHealthy
	first := m.places["host"]
	first.guest, first.served, first.told, first.running, first.enrolled = true, true, true, true, true
	m.places["other"].told = rapid.Bool().Draw(t, "it was there before")
	return m
}

// TestHistoriesOfMoves lets anything happen to an instance that moves: writes at every address that anybody was ever told, deadlines,
// deliveries that are late or repeated, results that are lost, late or repeated, guests that start anew, commands that are withdrawn
// while they run, transactions that are refused, migrations that are given up. What a server has acknowledged is never lost, no two
// servers acknowledge, no command is lost, every step is due at some time, and in the end one host has the instance.
func TestHistoriesOfMoves(t *testing.T) {
	histories(t, func(t *rapid.T) world { return newMoves(t) })
}

func (m *moves) pass(d time.Duration) { m.now = m.now.Add(d) }

func (m *moves) happens() {
	host := rapid.SampledFrom([]string{"host", "other"}).Draw(m.T, "host")
	refused := rapid.IntRange(0, 9).Draw(m.T, "refused") == 0
	badly := rapid.IntRange(0, 7).Draw(m.T, "ends badly") == 0
	switch rapid.SampledFrom([]string{"ask", "ask", "write", "write", "deliver", "execute", "answer", "repeat", "overdue", "start", "enrol", "remove", "protect", "round", "round", "round", "round", "round", "round", "round", "round"}).Draw(m.T, "what") {
	case "ask":
		m.asks(refused)
	case "write":
		m.write(host)
	case "deliver":
		m.deliver(host)
	case "execute":
		m.execute(host, badly)
	case "answer":
		m.answer(host, refused)
	case "repeat":
		if len(m.sent) > 0 {
			m.late(rapid.SampledFrom(m.sent).Draw(m.T, "result"))
		}
	case "overdue":
		m.commit(lifecycle.Event{Type: lifecycle.Overdue}, refused)
	case "start": // of the guest: it is given again what is pending
		p := m.places[host]
		p.queue, p.seen = nil, map[string]bool{}
	case "enrol":
		m.enrol(host, refused)
	case "remove":
		m.remove(host)
	case "protect":
		m.protect()
	case "round":
		m.round(host, badly, refused)
	}
}

func (m *moves) round(host string, badly, refused bool) {
	m.deliver(host)
	m.execute(host, badly)
	m.write(host) // clients do so all the time
	m.answer(host, refused)
	m.enrol(host, refused)
	m.reports(host)
}

// reports has a guest tell how its server is.
func (m *moves) reports(host string) {
	if p := m.places[host]; p.guest && p.served && m.trusted == host && len(p.queue) == 0 {
		is := datastores.StatusShutdown
		if p.running {
			is = datastores.StatusHealthy
		}
		m.commit(lifecycle.Event{Type: lifecycle.Reported, Status: datastores.Status{Service: is}}, false)
	}
}

func (m *moves) asks(refused bool) {
	kind := rapid.SampledFrom([]lifecycle.EventType{
		lifecycle.AskMigrate, lifecycle.AskMigrate, lifecycle.AskMigrate, lifecycle.AskMigrate, lifecycle.AskMigrate, lifecycle.AskRestart, lifecycle.AskBackup, lifecycle.ResetStatus,
	}).Draw(m.T, "ask")
	e := lifecycle.Event{Type: kind, Backup: "b"}
	if kind == lifecycle.AskMigrate {
		e.Target = &etcdschema.Target{Host: map[string]string{"host": "other", "other": "host"}[m.in.Host]}
		e.Target.Address = "at " + e.Target.Host
		if rapid.Bool().Draw(m.T, "resizes") {
			e.Target.Flavor = &etcdschema.Flavor{RAM: rapid.IntRange(1, 9).Draw(m.T, "memory")}
		}
		if m.kept[e.Target.Host] {
			return // the gateway refuses it: what was there is not removed yet
		}
	}
	d, err := lifecycle.Decide(lifecycle.Alone(m.in), e, m.now, m.newID)
	if kind == lifecycle.AskMigrate && err == nil && d.Changed && !refused {
		m.charged = lifecycle.Become(m.in, *e.Target).Flavor.RAM
		m.kept[e.Target.Host], m.copied = true, false
	}
	if err == nil && !refused {
		m.take(d)
	}
}

func (m *moves) commit(e lifecycle.Event, refused bool) {
	m.Helper()
	d, err := lifecycle.Decide(lifecycle.Alone(m.in), e, m.now, m.newID)
	if err != nil {
		m.Fatalf("%s: %v", e.Type, err)
	}
	if refused {
		return
	}
	if e.Type == lifecycle.Done || e.Type == lifecycle.Failed {
		m.withdraw(e.Command)
	}
	m.take(d)
}

// take writes what was decided.
func (m *moves) take(d lifecycle.Decision) {
	if !d.Changed {
		return
	}
	if d.Drop != nil {
		m.withdraw(d.Drop.ID)
	}
	m.pending = append(m.pending, d.Commands...)
	for _, c := range d.Commands {
		m.walls[c.ID] = lifecycle.Arriving(d.Instance)
		if c.Method == deployments.MethodLaunch {
			m.begun[c.ID] = d.Instance.Operation.Started
		}
	}
	if op := d.Instance.Operation; op != nil && op.Former != nil && op.Former.Agent.ID == "" { // as package plan keeps it
		op.Former.Agent.ID = m.trusted
	}
	if d.Agent != nil {
		m.trusted = d.Agent.ID
	}
	for _, line := range d.Events {
		m.Logf("%s: %s", line.At.Format(time.TimeOnly), line.Message)
	}
	if d.Refund != nil {
		m.charged += d.Instance.Flavor.RAM - lifecycle.Become(d.Instance, d.Refund.Target).Flavor.RAM
	}
	for _, left := range d.Left {
		m.removals[left.Host] = m.newID()
	}
	arriving := lifecycle.Arriving(m.in)
	m.in = d.Instance
	if arriving && !lifecycle.Arriving(m.in) { // as package plan does
		m.protect()
	}
}

func (m *moves) withdraw(id string) {
	m.pending = slices.DeleteFunc(m.pending, func(c lifecycle.Command) bool { return c.ID == id })
}

// write is a tenant's, at an address that the API has told at some time.
func (m *moves) write(host string) {
	if p := m.places[host]; p.acknowledges() {
		n := len(m.written)
		p.data[n], m.written[n] = true, true
	}
}

func (p *place) acknowledges() bool { return p.told && !p.walled && p.running && !p.readOnly }

// protect has the host told who may reach the instance, as the end of a move and a tenant's wish do.
func (m *moves) protect() {
	c := lifecycle.Command{ID: m.newID(), Agent: m.in.Host, Method: deployments.MethodProtect, Deadline: m.now.Add(7 * 24 * time.Hour)}
	m.walls[c.ID] = lifecycle.Arriving(m.in)
	m.pending = append(m.pending, c)
}

// deliver gives a host, and the guest there when its word counts, what is pending and they were not given since they started.
func (m *moves) deliver(host string) {
	p := m.places[host]
	for _, c := range m.pending {
		if !p.seen[c.ID] && (c.Agent == host || c.Agent == "guest" && m.trusted == host) {
			p.seen[c.ID] = true
			p.queue = append(p.queue, c)
		}
	}
}

// execute runs the command whose turn it is, even one that was withdrawn, and not again one that was run.
func (m *moves) execute(host string, badly bool) {
	p := m.places[host]
	if len(p.queue) == 0 {
		return
	}
	c := p.queue[0]
	p.queue = p.queue[1:]
	if _, ran := p.journal[c.ID]; ran || c.Agent == "guest" && !p.guest {
		return
	}
	e := lifecycle.Event{Type: lifecycle.Done, Command: c.ID, Value: []byte(`{"backup_id":"b"}`)}
	if m.now.After(c.Deadline) || badly && c.Waiter != "" || !m.does(host, c) {
		e.Type, e.Error = lifecycle.Failed, agentpoll.Errorf(agentpoll.Internal, "broken")
	}
	p.journal[c.ID] = e
}

// does reports whether a host or its guest could do what a command asks for.
func (m *moves) does(host string, c lifecycle.Command) bool {
	p := m.places[host]
	switch c.Method {
	case deployments.MethodLaunch:
		if p.removed > m.order[c.ID] {
			return false
		}
		p.guest, p.begun, p.enrolled, p.walled = true, m.begun[c.ID], false, m.walls[c.ID]
	case deployments.MethodProtect:
		p.walled = m.walls[c.ID]
	case datastores.MethodMakeReadOnly:
		if !p.running {
			return false
		}
		p.readOnly = c.ReadOnly
	case datastores.MethodCreateBackup:
		if !p.running {
			return false
		}
		if m.in.Operation != nil && m.in.Operation.Command == c.ID { // else the gateway takes no segment of it
			m.backup, m.copied = maps.Clone(p.data), true
		}
	case datastores.MethodStop:
		p.running = false
	case datastores.MethodStart, datastores.MethodRestart:
		p.running = p.served
		return p.served
	case datastores.MethodPrepare:
		if !m.copied {
			return false
		}
		p.data, p.served, p.running, p.readOnly = maps.Clone(m.backup), true, true, false
	}
	return true
}

// answer sends the result of a command that is pending.
func (m *moves) answer(host string, refused bool) {
	p := m.places[host]
	for _, c := range m.pending {
		e, ran := p.journal[c.ID]
		if !ran || c.Agent == "guest" && m.trusted != host {
			continue
		}
		if c.Waiter == "" {
			m.withdraw(c.ID)
			return
		}
		m.commit(e, refused)
		if !refused {
			m.sent = append(m.sent, e)
		}
		return
	}
}

// enrol lets a guest show its token, which is taken while the instance waits for it.
func (m *moves) enrol(host string, refused bool) {
	p := m.places[host]
	if !p.guest || p.enrolled || !lifecycle.Awaits(m.in, p.begun) || refused {
		return
	}
	p.enrolled, m.trusted = true, host
	m.commit(lifecycle.Event{Type: lifecycle.Enrolled}, false)
}

// remove has a host remove what it has of an instance that has left it.
func (m *moves) remove(host string) {
	id, asked := m.removals[host]
	if !asked {
		return
	}
	p, had := newPlace(), m.places[host]
	p.removed, p.journal, p.told = m.order[id], had.journal, had.told
	for _, c := range had.queue {
		if c.Agent == host { // the guest is gone, with what it was to do
			p.queue = append(p.queue, c)
		}
	}
	m.places[host] = p
	delete(m.removals, host)
	delete(m.kept, host)
}

// late lets a result come that was committed before.
func (m *moves) late(e lifecycle.Event) {
	if d, err := lifecycle.Decide(lifecycle.Alone(m.in), e, m.now, m.newID); err == nil && d.Changed {
		m.Fatalf("the result of %s was taken twice", e.Command)
	}
}

func (m *moves) check() {
	m.Helper()
	told, _ := lifecycle.Reached(m.in)
	m.places[told].told = true
	if a, b := m.places["host"], m.places["other"]; a.acknowledges() && b.acknowledges() {
		m.Fatalf("both hosts' servers acknowledge writes: %+v", m.in.Operation)
	}
	m.safe(told)
	op := m.in.Operation
	if op != nil && (op.Deadline.IsZero() || op.Command != "" && !slices.ContainsFunc(m.pending, func(c lifecycle.Command) bool { return c.ID == op.Command })) {
		m.Fatalf("it waits for ever: %+v", op)
	}
	for _, c := range m.pending {
		if c.Waiter != "" && c.Method != deployments.MethodLaunch && (op == nil || op.Command != c.ID) { // a guest may enrol before its host says that it started it
			m.Fatalf("%+v is pending, and nobody waits for it", c)
		}
	}
}

// safe fails when what was acknowledged is not where clients are told that the instance is.
func (m *moves) safe(told string) {
	m.Helper()
	for n := range m.written {
		if !m.places[told].data[n] {
			m.Fatalf("write %d was acknowledged, and %s does not have it: %+v", n, told, m.in.Operation)
		}
	}
}

// rest lets everybody be there and every command end.
func (m *moves) rest() {
	m.Helper()
	for range 100 {
		for _, host := range []string{"host", "other"} {
			m.round(host, false, false)
			m.remove(host)
		}
		m.commit(lifecycle.Event{Type: lifecycle.Overdue}, false)
		if m.in.Operation == nil && len(m.pending) == 0 && len(m.removals) == 0 {
			m.check()
			if m.charged != m.in.Flavor.RAM {
				m.Fatalf("the project is charged for %d MB, and the instance has %d", m.charged, m.in.Flavor.RAM)
			}
			if len(m.kept) != 1 || !m.kept[m.in.Host] || m.trusted != m.in.Host {
				m.Fatalf("it is on %s, room is kept on %v, and the guest on %s counts", m.in.Host, m.kept, m.trusted)
			}
			if p := m.places[m.in.Host]; m.in.Failed == "" && m.in.Service.Service == datastores.StatusHealthy && !p.acknowledges() {
				m.Fatalf("it is said to be well, and takes no writes: %+v", m.in)
			}
			return
		}
		m.now = m.now.Add(time.Minute)
	}
	m.Fatalf("it does not come to rest: %+v, %+v", m.in, m.in.Operation)
}
