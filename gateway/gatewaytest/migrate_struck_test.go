package gatewaytest_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestMigrationIsStruck kills programs with kill -9 at random moments of migrations, while a client writes: the gateway, the host that is left, the
// one that the instance comes to, its guests. Each migration comes to an end, on one host or the other, and nothing that was
// acknowledged is missing there.
func TestMigrationIsStruck(t *testing.T) {
	t.Parallel()
	datastoretest.Require(t, "/usr/bin/redis-server", "redis-server")
	datastoretest.Require(t, "/usr/sbin/mariadbd", "mariadb-server")
	datastoretest.Require(t, "/usr/bin/etcd", "etcd-server")
	p := programs(t)
	w := newWorld(t, p, false)
	other := newMachine(t)
	s := &struck{world: w, admin: w.Client, places: map[string]*struckHost{}}
	s.admin.Token = gatewaytest.Admin
	otherID := other.enrol(t, w.URL)
	s.places[otherID] = &struckHost{other, startUnit(t, p, gatewaytest.LogDir(t), "", "coffer-host",
		append(other.hostArgs(p, w.URL), "-name", "other", "-memory", "100000", "-vcpus", "100", "-disk", "1000")...)}
	s.admin.AwaitHost(t, otherID)
	s.places[s.hostOf(t, w.bystanders[0].id)] = &struckHost{w.machine, w.host}
	seed := number(t, "COFFER_CHAOS_SEED", rand.Uint64()>>1)
	t.Logf("COFFER_CHAOS_SEED=%d draws the same parts of migrations again", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	for _, d := range []datastore{redisStore, mariadbStore} {
		s.migrations(t, d, chance)
	}
	w.end(t)
}

// struck is a world with two hosts, on machines of their own.
type struck struct {
	*world
	admin  gatewaytest.Client
	places map[string]*struckHost // by the host's id
}

type struckHost struct {
	machine *machine
	host    *unit
}

func (s *struck) hostOf(t *testing.T, id string) string {
	t.Helper()
	return s.admin.Want(t, http.StatusOK, http.MethodGet, "/mgmt/instances/"+id, "").Text("instance", "server", "host")
}

// migrations has an instance migrate once undisturbed, and then once for each victim.
func (s *struck) migrations(t *testing.T, d datastore, chance *rand.Rand) {
	id := s.tenant.create(t, "struck-"+string(d), d, d.tenantPart())
	for _, place := range s.places {
		place.machine.instances = append(place.machine.instances, id)
	}
	l := d.login(s.Await(t, id, "ACTIVE", patience).Text("instance", "ip", 0), "")
	if d == redisStore {
		l = d.login(l.address, s.Want(t, http.StatusOK, http.MethodPost, gatewaytest.Instance(id)+"/root", "").Text("user", "password"))
	}
	victims := []struct {
		name   string
		strike func(from, to *struckHost) func(time.Duration) error
	}{
		{"nobody", func(_, _ *struckHost) func(time.Duration) error { return nil }},
		{"the gateway", func(_, _ *struckHost) func(time.Duration) error { return s.gateway.strike }},
		{"the host that is left", func(from, _ *struckHost) func(time.Duration) error { return from.host.strike }},
		{"the host that it comes to", func(_, to *struckHost) func(time.Duration) error { return to.host.strike }},
		{"the guest where it was", func(from, _ *struckHost) func(time.Duration) error { return from.machine.killGuestOf(id) }},
		{"the guest where it comes to", func(_, to *struckHost) func(time.Duration) error { return to.machine.killGuestOf(id) }},
	}
	written, usual := 0, 2*time.Second
	for _, v := range victims {
		if n, err := d.write(t.Context(), l, written, written+50); n != 50 {
			t.Fatal(err)
		}
		written += 50
		begun := time.Now()
		from, to := s.hostOf(t, id), ""
		for host := range s.places {
			if host != from {
				to = host
			}
		}
		stop, acknowledged := make(chan struct{}), make(chan int)
		go func() { // until the server refuses
			n, _ := d.write(t.Context(), l, written, 1<<20)
			<-stop
			acknowledged <- written + n
		}()
		strike := v.strike(s.places[from], s.places[to])
		moment := part(chance, usual)
		during(t, func() error {
			if strike == nil {
				return nil
			}
			until.Passed(moment)
			return strike(part(chance, longestAway))
		}, func() {
			s.admin.Want(t, http.StatusAccepted, http.MethodPost, "/mgmt/instances/"+id+"/action", fmt.Sprintf(`{"migrate":{"host":%q}}`, to))
			s.awaitEnd(t, id)
		})
		close(stop)
		written = s.nothingIsMissing(t, d, id, &l, <-acknowledged)
		t.Logf("%s: struck %s after %s; the migration to %s took %s, %d items there", d, v.name, moment, to, time.Since(begun).Round(time.Millisecond), written)
		if v.name == "nobody" {
			usual = time.Since(begun)
		}
		until.True(t, lifeTimeout, "the host where it is not has nothing of it", func() bool {
			a, _, err := tenant{s.admin}.ask(http.MethodGet, "/mgmt/hosts", "")
			return err == nil && strings.Count(string(a.Body), id) == 1
		})
	}
	s.remove(t, id)
}

// awaitEnd waits until nothing is being done to the instance.
func (s *struck) awaitEnd(t *testing.T, id string) {
	t.Helper()
	var a gatewaytest.Answer
	if !until.Holds(lifeTimeout, func() bool {
		var err error
		a, _, err = s.ask(http.MethodGet, gatewaytest.Instance(id), "")
		return err == nil && a.Text("instance", "status") != "MIGRATING"
	}) || a.Text("instance", "status") != "ACTIVE" {
		t.Fatalf("after a migration: %s", a.Body)
	}
}

// nothingIsMissing reads what there is where the instance is, and has one more written.
func (s *struck) nothingIsMissing(t *testing.T, d datastore, id string, l *login, acknowledged int) (written int) {
	t.Helper()
	a, _, err := s.ask(http.MethodGet, gatewaytest.Instance(id), "")
	if err != nil {
		t.Fatal(err)
	}
	l.address = a.Text("instance", "ip", 0)
	var numbers []int
	if !until.Holds(lifeTimeout, func() bool {
		numbers, err = d.read(t.Context(), *l)
		return err == nil
	}) {
		t.Fatal(err)
	}
	if len(numbers) < acknowledged || !slices.IsSorted(numbers) {
		t.Fatalf("%d items were acknowledged, and %d are there: %s", acknowledged, len(numbers), a.Body)
	}
	written = len(numbers) // one may have been taken whose answer was lost
	if n, err := d.write(t.Context(), *l, written, written+1); n != 1 {
		t.Fatalf("it takes no writes: %v", err)
	}
	return written + 1
}
