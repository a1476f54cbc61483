package gatewaytest_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// trio is a set of three over three hosts, each on a machine of its own that can lose its power, and clients that write to all of them
// all the time.
type trio struct {
	*testing.T
	gatewaytest.Client
	store    datastore
	machines []*machine
	hosts    []*unit
	ids      []string // of the members, each on the host of the same number
	logins   []login

	next   atomic.Int64
	mu     sync.Mutex
	acks   map[int]ack // by item
	refuse []error     // by member: why the last write was refused
}

// ack is when an item was acknowledged, and by which member.
type ack struct {
	at     time.Time
	member int
}

// newTrio makes the set, whose source is on the first host.
func newTrio(t *testing.T, d datastore, p gatewaytest.Programs, plane *plane) *trio {
	t.Helper()
	datastoretest.Require(t, "/usr/sbin/mariadbd", "mariadb-server")
	datastoretest.Require(t, "/usr/lib/postgresql/15/bin/postgres", "postgresql-15")
	datastoretest.Require(t, "/usr/bin/etcdctl", "etcd-client")
	f := &trio{T: t, store: d, acks: map[int]ack{}, refuse: make([]error, 3)}
	p.PutDefinitions(t, plane.etcd)
	f.Client = gatewaytest.Client{URL: plane.urls[0], Token: gatewaytest.Member, Project: gatewaytest.Project}
	admin := f.Client
	admin.Token = gatewaytest.Admin
	for n := range 3 {
		m := newMachine(t)
		id := m.enrol(t, plane.urls[0])
		args := append(m.hostArgs(p, strings.Join(plane.urls, ",")), "-name", fmt.Sprintf("host-%d", n), "-memory", "100000", "-vcpus", "100", "-disk", "1000")
		f.machines, f.hosts = append(f.machines, m), append(f.hosts, startUnit(t, p, gatewaytest.LogDir(t), "", "coffer-host", args...))
		admin.AwaitHost(t, id)
		if n == 0 {
			f.member(m.create(t, f.Client, d, `,"locality":"anti-affinity"`+d.tenantPart()))
		}
	}
	t.Cleanup(f.remove)
	for n := range 2 {
		f.member(f.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"r%d","replica_of":%q}}`, n, f.ids[0])))
		f.Await(t, f.ids[0], "ACTIVE", lifeTimeout)
	}
	for n, id := range f.ids { // who is on which machine
		at := slices.IndexFunc(f.machines, func(m *machine) bool { return slices.Contains(m.running(), id) })
		if at != n {
			f.machines[n], f.machines[at], f.hosts[n], f.hosts[at] = f.machines[at], f.machines[n], f.hosts[at], f.hosts[n]
		}
	}
	for _, m := range f.machines {
		m.instances = f.ids
	}
	return f
}

// remove deletes the members, the source last.
func (f *trio) remove() {
	source := f.source()
	last := append(slices.Delete(slices.Clone(f.ids), source, source+1), f.ids[source])
	for _, id := range last {
		if f.Do(f.T, http.MethodDelete, gatewaytest.Instance(id), "").Status == http.StatusAccepted {
			f.AwaitGone(f.T, id, lifeTimeout)
		}
	}
}

// running are the instances whose guests run on a machine.
func (m *machine) running() (ids []string) {
	for id := range m.guests() {
		ids = append(ids, id)
	}
	return ids
}

func (f *trio) member(created gatewaytest.Answer) {
	f.Helper()
	id := created.Text("instance", "id")
	f.ids = append(f.ids, id)
	address := f.Await(f.T, id, "ACTIVE", lifeTimeout).Text("instance", "ip", 0)
	password := created.Text("instance", "password")
	if len(f.logins) > 0 && f.store == redisStore {
		password = f.logins[0].password
	}
	f.logins = append(f.logins, f.store.login(address, password))
}

// write has a client write to each member until the context ends.
func (f *trio) write(ctx context.Context) (wait func()) { return f.clients(ctx, f.writeOne) }

// clients runs session for each member, again and again until the context ends. A session ends when the member refuses something.
func (f *trio) clients(ctx context.Context, session func(ctx context.Context, member int, l login) error) (wait func()) {
	var writers sync.WaitGroup
	for n, l := range f.logins {
		writers.Go(func() {
			for ctx.Err() == nil {
				f.refusedBy(n, session(ctx, n, l))
				until.Passed(20 * time.Millisecond)
			}
		})
	}
	return writers.Wait
}

// writeOne writes items, each with a number of its own, until one is not acknowledged within two seconds.
func (f *trio) writeOne(ctx context.Context, member int, l login) error {
	for {
		n := int(f.next.Add(1))
		ctx, cancel := context.WithTimeout(ctx, writePatience)
		_, err := f.store.write(ctx, l, n, n+1)
		cancel()
		if err != nil {
			return err
		}
		f.acknowledge(n, member)
		until.Passed(2 * time.Millisecond)
	}
}

// writePatience is how long a client waits for an acknowledgement.
const writePatience = 2 * time.Second

func (f *trio) acknowledge(item, member int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acks[item] = ack{time.Now(), member}
}

// automatic has failover need nobody, once somebody has written a first item.
func (f *trio) automatic() {
	f.Helper()
	if _, err := f.store.write(f.Context(), f.logins[0], 0, 1); err != nil {
		f.Fatal(err)
	}
	f.Want(f.T, 202, http.MethodPut, gatewaytest.Instance(f.ids[0]), `{"instance":{"failover":{"mode":"automatic","grace_seconds":3}}}`)
	f.awaitArmed(2)
}

func (f *trio) refusedBy(member int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse[member] = err
}

// acknowledged is how many items were, and when the last one was.
func (f *trio) acknowledged() (count int, last time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.acks {
		if a.at.After(last) {
			last = a.at
		}
	}
	return len(f.acks), last
}

// inOrder are the acknowledgements as they came.
func (f *trio) inOrder() []ack {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.SortedFunc(maps.Values(f.acks), func(a, b ack) int { return a.at.Compare(b.at) })
}

// pauses are the times, longer than half a second, in which nobody's write was acknowledged.
func (f *trio) pauses() (all []time.Duration) {
	acks := f.inOrder()
	for i := 1; i < len(acks); i++ {
		if d := acks[i].at.Sub(acks[i-1].at); d > 500*time.Millisecond {
			all = append(all, d.Round(10*time.Millisecond))
		}
	}
	slices.Sort(all)
	return all
}

// wantOneAtATime expects that no member acknowledged anything after another one had begun to.
func (f *trio) wantOneAtATime() {
	f.Helper()
	var who []int
	for _, a := range f.inOrder() {
		if len(who) == 0 || who[len(who)-1] != a.member {
			who = append(who, a.member)
		}
	}
	if len(who) != 2 || who[0] != 0 || who[1] != f.source() {
		f.Errorf("writes were acknowledged by the members %v, one after the other\n%s", who, f.told())
	}
}

// source is the number of the member that is the source now.
func (f *trio) source() int {
	of := f.Want(f.T, 200, http.MethodGet, gatewaytest.Instance(f.ids[0]), "").Text("instance", "replica_of", "id")
	if of == "" {
		return 0
	}
	return slices.Index(f.ids, of)
}

// awaitArmed waits until so many candidates can take the place of the source.
func (f *trio) awaitArmed(candidates int) {
	f.Helper()
	var a gatewaytest.Answer
	if !until.Holds(lifeTimeout, func() bool {
		a = f.Do(f.T, http.MethodGet, gatewaytest.Instance(f.ids[0]), "") // 503 while etcd has no leader
		n := 0
		for a.At("instance", "failover", "candidates", n) != nil {
			n++
		}
		return n >= candidates
	}) {
		f.Fatalf("there are no %d candidates: %s\n%s", candidates, a.Body, f.told())
	}
}

// awaitWrites waits until items are acknowledged that were begun from now on.
func (f *trio) awaitWrites(what string) {
	f.Helper()
	from := time.Now()
	if !until.Holds(lifeTimeout, func() bool { _, last := f.acknowledged(); return last.After(from.Add(2 * time.Second)) }) {
		f.Fatalf("%s: nobody takes writes: %v\n%s", what, f.refuse, f.told())
	}
}

// told is what the timelines of the members say.
func (f *trio) told() string {
	var all []string
	for _, id := range f.ids {
		for marker, n := "", -1; n != 0; {
			events := f.Want(f.T, 200, http.MethodGet, gatewaytest.Instance(id)+"/events?limit=20&marker="+marker, "")
			for n = 0; events.At("events", n) != nil; n++ {
				marker = events.Text("events", n, "id")
				all = append(all, events.Text("events", n, "at")+" "+id[len(id)-4:]+" "+events.Text("events", n, "kind")+": "+events.Text("events", n, "message"))
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// cutPower kills everything on a machine: host, sandbox, guest and server.
func (f *trio) cutPower(member int) {
	f.Helper()
	f.hosts[member].mu.Lock()
	defer f.hosts[member].mu.Unlock()
	f.hosts[member].process.Kill()
	begun := time.Now()
	until.True(f.T, lifeTimeout, "all processes of the machine have ended", func() bool {
		pids := f.machines[member].processes()
		if time.Since(begun) > 5*time.Second {
			f.Logf("%s: still there: %v", time.Since(begun), pids)
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return len(pids) == 0
	})
}

// powerOn starts its host again.
func (f *trio) powerOn(member int) {
	f.Helper()
	f.hosts[member].mu.Lock()
	defer f.hosts[member].mu.Unlock()
	var err error
	if f.hosts[member].process, err = f.hosts[member].start(); err != nil {
		f.Fatal(err)
	}
}

// kept are the items that no failover may lose: all, but of Redis what the first source acknowledged in its last ten seconds.
func (f *trio) kept() (items []int) {
	var last time.Time
	for _, a := range f.acks {
		if f.store == redisStore && a.member == 0 && a.at.After(last) {
			last = a.at
		}
	}
	for n, a := range f.acks {
		if a.member != 0 || last.Sub(a.at) > 10*time.Second || f.store != redisStore {
			items = append(items, n)
		}
	}
	return items
}

// wantAll expects that every member has all that was acknowledged.
func (f *trio) wantAll() {
	f.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	must := f.kept()
	for member, l := range f.logins {
		var missing []int
		var err error
		if !until.Holds(lifeTimeout, func() bool {
			var numbers []int
			ctx, cancel := context.WithTimeout(f.Context(), 10*time.Second)
			defer cancel()
			numbers, err = f.store.read(ctx, l)
			missing = nil
			for _, n := range must {
				if _, has := slices.BinarySearch(numbers, n); !has {
					missing = append(missing, n)
				}
			}
			return err == nil && len(missing) == 0
		}) {
			f.Errorf("member %d lacks %d of %d acknowledged items (err %v)\n%s", member, len(missing), len(must), err, f.told())
		}
	}
}

// TestFailover takes the power from the machine of a source of Redis while clients write. A replica takes its place, nothing but what was acknowledged
// last is missing, and when the machine is back its server follows, without anybody's help. TestFailoverUnderFire does so with the others.
func TestFailover(t *testing.T) {
	t.Parallel()
	p := programs(t)
	f := newTrio(t, redisStore, p, oneGateway(t, p))
	f.automatic()
	ctx, cancel := context.WithCancel(t.Context())
	wait := f.write(ctx)
	defer func() { cancel(); wait() }()
	f.awaitWrites("before")
	f.cutPower(0)
	f.awaitWrites("after the source has lost its power")
	until.True(t, lifeTimeout, "the API says who is the source", func() bool { return f.source() != 0 })
	f.powerOn(0)
	f.awaitArmed(2)
	f.awaitWrites("after it is back")
	cancel()
	wait()
	f.wantAll()
	f.wantOneAtATime()
	count, _ := f.acknowledged()
	t.Logf("%d writes acknowledged; the longest time without one was %v, of %v\n%s", count, slices.Max(append(f.pauses(), 0)), f.pauses(), f.told())
}
