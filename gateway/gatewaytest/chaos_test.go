package gatewaytest_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// victim is what gets kill -9 and comes back.
type victim struct {
	name     string
	embedded bool // etcd runs inside the gateway
	// appears waits, while an instance is created, for there being somebody to strike. nil: there is.
	appears func(*world)
	// strike kills it; what does not start again by itself is away for that time.
	strike func(w *world, away time.Duration) error
}

func victims() []victim {
	gateway := func(w *world, away time.Duration) error { return w.gateway.strike(away) }
	etcd := func(w *world, away time.Duration) error { return w.etcd.strike(away) }
	host := func(w *world, away time.Duration) error { return w.host.strike(away) }
	return []victim{
		{name: "gateway", strike: gateway},
		{name: "etcd", strike: etcd},
		{name: "gateway with etcd inside", embedded: true, strike: gateway},
		{name: "host", strike: host},
		{name: "guest", appears: (*world).awaitGuest, strike: (*world).killGuests},
	}
}

const (
	longestAway = 500 * time.Millisecond
	mostStrikes = 2
	// Redis is quick. MariaDB, with more to lose, has the first round and every fifth.
	mariadbEvery = 5
)

// TestChaos kills programs at random moments of instances' lives. Every life has to go on to its end; nothing that was
// acknowledged may be lost, nothing done twice, and no database stopped that nobody asked to stop.
func TestChaos(t *testing.T) {
	t.Parallel()
	datastoretest.Require(t, "/usr/bin/redis-server", "redis-server")
	datastoretest.Require(t, "/usr/sbin/mariadbd", "mariadb-server")
	datastoretest.Require(t, "/usr/bin/etcd", "etcd-server")
	datastoretest.Require(t, "/usr/bin/etcdctl", "etcd-client")
	p := programs(t)
	rounds, seed := number(t, "COFFER_CHAOS_ROUNDS", 5), number(t, "COFFER_CHAOS_SEED", rand.Uint64()>>1)
	t.Logf("%d rounds for each victim; COFFER_CHAOS_SEED=%d draws the same parts of steps again", rounds, seed)
	for i, v := range victims() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, p, v.embedded)
			usual := map[datastore][]time.Duration{redisStore: w.undisturbed(t, redisStore), mariadbStore: w.undisturbed(t, mariadbStore)}
			chance := rand.New(rand.NewPCG(seed, uint64(i)))
			for round := range rounds {
				d := redisStore
				if round%mariadbEvery == 0 {
					d = mariadbStore
				}
				w.round(t, v, d, chance, usual[d])
			}
			w.end(t)
		})
	}
}

// undisturbed lives a life and returns how long each step took.
func (w *world) undisturbed(t *testing.T, d datastore) []time.Duration {
	l := w.newLife(d)
	var took []time.Duration
	for _, s := range steps() {
		begun := time.Now()
		l.live(t, s)
		took = append(took, time.Since(begun))
	}
	if l.fault != "" {
		t.Fatal("a life that nobody disturbed failed")
	}
	t.Logf("%s undisturbed: %v", d, took)
	return took
}

// round lives a life and strikes the victim at some moment of one of its steps; at times again, while all are busy coming
// to themselves.
func (w *world) round(t *testing.T, v victim, d datastore, chance *rand.Rand, usual []time.Duration) {
	l := w.newLife(d)
	unlucky := chance.IntN(len(usual))
	moments := make([]time.Duration, 1+chance.IntN(mostStrikes))
	for i := range moments {
		moments[i] = part(chance, usual[unlucky])
	}
	away := part(chance, longestAway)
	begun := time.Now()
	for i, s := range steps() {
		if i != unlucky {
			l.live(t, s)
			continue
		}
		during(t, func() error {
			if s.name == "create" && v.appears != nil {
				v.appears(w)
			}
			for _, moment := range moments {
				until.Passed(moment)
				if err := v.strike(w, away); err != nil {
					return err
				}
			}
			return nil
		}, func() { l.live(t, s) })
	}
	for _, b := range w.bystanders {
		b.check(t)
	}
	t.Logf("%s: killed in %q after %v, away for %s; the life took %s", l.name, steps()[unlucky].name, moments, away, time.Since(begun))
}

// during does one thing while the other happens, and returns when both have ended, whatever becomes of them.
func during(t *testing.T, happens func() error, do func()) {
	done := make(chan error, 1)
	go func() { done <- happens() }()
	defer func() {
		if err := <-done; err != nil {
			t.Errorf("the victim did not come back: %v", err)
		}
	}()
	do()
}

// part is some part of d, by chance.
func part(chance *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(chance.Float64() * float64(d)).Round(100 * time.Microsecond)
}

// number reads a setting of the test.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
