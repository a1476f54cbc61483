package gatewaytest_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// trial is an instance of which a backup, a restored copy and a replica are made, while somebody is killed during one of its
// steps.
type trial struct {
	*world
	store datastore
	name  string

	source, replica, copy member // the source is what the API says it is
	backup                string // id of a complete one; "": there is none
	backedUp, items       int    // how many items were there at the backup, and are now
	group                 string // id of the configuration group
}

// member is one instance.
type member struct {
	id    string
	login login
	fault string
}

// trialSteps are what can be struck, after the instance was made and filled.
func trialSteps() []struct {
	name string
	do   func(*trial, *testing.T)
} {
	return []struct {
		name string
		do   func(*trial, *testing.T)
	}{
		{"backup", (*trial).makeBackup},
		{"restore", (*trial).restore},
		{"attach", (*trial).attach},
		{"replicate", (*trial).replicate},
		{"promote", (*trial).promote},
	}
}

// TestChaosOperations kills the gateway, the host or every guest at random moments of backups, restores, changes of parameters,
// the making of replicas and promotions: everything ends where the API says, no acknowledged data is lost, and a backup that
// is COMPLETED restores.
func TestChaosOperations(t *testing.T) {
	t.Parallel()
	datastoretest.Require(t, "/usr/bin/redis-server", "redis-server")
	datastoretest.Require(t, "/usr/sbin/mariadbd", "mariadb-server")
	datastoretest.Require(t, "/usr/bin/mariadb-backup", "mariadb-backup")
	datastoretest.Require(t, "/usr/lib/postgresql/15/bin/postgres", "postgresql-15")
	datastoretest.Require(t, "/usr/bin/etcd", "etcd-server")
	p := programs(t)
	rounds, seed := number(t, "COFFER_CHAOS_OPERATIONS", 3), number(t, "COFFER_CHAOS_SEED", rand.Uint64()>>1)
	t.Logf("%d rounds for each victim; COFFER_CHAOS_SEED=%d draws the same moments again", rounds, seed)
	stores := []datastore{mariadbStore, postgresqlStore, redisStore}
	for i, v := range victims() {
		if v.name == "etcd" || v.embedded {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, p, false)
			chance := rand.New(rand.NewPCG(seed, uint64(i)))
			usual := map[datastore][]time.Duration{}
			for round := range int(rounds) {
				d := stores[(int(seed%3)+round+i)%len(stores)]
				if usual[d] == nil {
					usual[d] = w.newTrial(d).run(t, -1, nil)
				}
				unlucky := chance.IntN(len(trialSteps()))
				moment, away := part(chance, usual[d][unlucky]), part(chance, longestAway)
				t.Logf("%s: killed in %q after %v, away for %v", d, trialSteps()[unlucky].name, moment, away)
				w.newTrial(d).run(t, unlucky, func() error {
					until.Passed(moment)
					return v.strike(w, away)
				})
			}
			w.end(t)
		})
	}
}

func (w *world) newTrial(d datastore) *trial {
	w.lives++
	return &trial{world: w, store: d, name: fmt.Sprintf("%s-%d", d, w.lives)}
}

// run does every step, the unlucky one while strike is, and returns how long each took.
func (r *trial) run(t *testing.T, unlucky int, strike func() error) (took []time.Duration) {
	t.Helper()
	r.source = r.make(t, r.name, r.store.tenantPart())
	if r.source.fault != "" {
		t.Fatalf("create failed though nobody was killed: %s", r.source.fault)
	}
	if r.store == redisStore {
		r.source.login.password = r.enableRoot(t, r.source.id)
	}
	r.fill(t, 50)
	for i, s := range trialSteps() {
		begun := time.Now()
		if i == unlucky {
			during(t, strike, func() { s.do(r, t) })
		} else {
			s.do(r, t)
		}
		took = append(took, time.Since(begun))
	}
	r.remove(t)
	return took
}

// make creates an instance and waits until it is settled.
func (r *trial) make(t *testing.T, name, more string) member {
	t.Helper()
	m := member{id: r.tenant.create(t, name, r.store, more)}
	r.instances = append(r.instances, m.id)
	r.look(t, &m)
	return m
}

// look waits until nothing is being done to an instance, and notes where it is and its fault.
func (r *trial) look(t *testing.T, m *member) gatewaytest.Answer {
	t.Helper()
	a := r.settled(t, m.id)
	password := m.login.password
	if password == "" {
		password = r.source.login.password
	}
	m.login, m.fault = r.store.login(a.Text("instance", "ip", 0), password), ""
	if a.Text("instance", "status") == "ERROR" {
		if m.fault = a.Text("instance", "fault", "message"); m.fault == "" {
			t.Fatalf("ERROR without a fault: %s", a.Body)
		}
		t.Logf("%s: %s", r.name, m.fault)
	}
	return a
}

func (r *trial) enableRoot(t *testing.T, id string) string {
	t.Helper()
	return r.do(t, http.StatusOK, nil, http.MethodPost, gatewaytest.Instance(id)+"/root", "").Text("user", "password")
}

// fill writes items into the source; all have to be acknowledged.
func (r *trial) fill(t *testing.T, more int) {
	t.Helper()
	n, err := r.store.write(t.Context(), r.source.login, r.items, r.items+more)
	if err != nil {
		t.Fatalf("%s: the source %s took %d of %d writes: %v", r.name, r.source.id, n, more, err)
	}
	r.items += n
}

// holds expects the items 0 to n-1 in a member, soon.
func (r *trial) holds(t *testing.T, what string, m member, n int) {
	t.Helper()
	var numbers []int
	var err error
	if until.Holds(patience, func() bool {
		numbers, err = r.store.read(t.Context(), m.login)
		return err == nil && len(numbers) == n
	}) {
		return
	}
	t.Errorf("%s: %s %s has %d items, want %d (err %v)", r.name, what, m.id, len(numbers), n, err)
}

func (r *trial) makeBackup(t *testing.T) {
	t.Helper()
	r.backedUp = r.items
	body := fmt.Sprintf(`{"backup":{"name":%q,"instance":%q}}`, r.name, r.source.id)
	r.do(t, http.StatusAccepted, busy, http.MethodPost, "/backups", body)
	until.True(t, patience, "the backup has ended", func() bool {
		a := r.do(t, http.StatusOK, nil, http.MethodGet, gatewaytest.Instance(r.source.id)+"/backups", "")
		running := false
		for i := 0; a.At("backups", i) != nil; i++ {
			switch a.Text("backups", i, "status") {
			case "COMPLETED":
				r.backup = a.Text("backups", i, "id")
			case "FAILED":
				t.Logf("%s: the backup failed: %s", r.name, a.Text("backups", i, "fault"))
			default:
				running = true
			}
		}
		return a.At("backups", 0) != nil && !running
	})
	r.look(t, &r.source)
	if r.source.fault != "" {
		t.Errorf("a backup has put its instance into ERROR: %s", r.source.fault)
	}
}

// restore makes an instance of the backup, if there is one: a backup that is COMPLETED restores.
func (r *trial) restore(t *testing.T) {
	t.Helper()
	r.fill(t, 20)
	if r.backup == "" {
		return
	}
	r.copy = r.make(t, r.name+"-copy", fmt.Sprintf(`,"restorePoint":{"backupRef":%q}`, r.backup))
	if r.copy.fault != "" {
		t.Errorf("a complete backup was not restored: %s", r.copy.fault)
		return
	}
	if r.store == redisStore { // whose root_on_create has given it another password
		r.copy.login.password = r.enableRoot(t, r.copy.id)
	}
	r.holds(t, "the restored", r.copy, r.backedUp)
}

// attach gives the source a parameter. Whether it has it afterwards the API says.
func (r *trial) attach(t *testing.T) {
	t.Helper()
	p := parametersOf[r.store][0]
	version := r.settled(t, r.source.id).Text("instance", "datastore", "version")
	body := fmt.Sprintf(`{"configuration":{"name":%q,"datastore":{"type":%q,"version":%q},"values":{%q:%s}}}`, r.name, r.store, version, p[0], value(p[1]))
	r.group = r.do(t, http.StatusOK, nil, http.MethodPost, "/configurations", body).Text("configuration", "id")
	at := gatewaytest.Instance(r.source.id)
	until.True(t, patience, "the group can be attached", func() bool {
		a, _, err := r.ask(http.MethodPut, at, fmt.Sprintf(`{"instance":{"configuration":%q}}`, r.group))
		if err != nil || a.Status != http.StatusAccepted && a.Status != http.StatusUnprocessableEntity { // 422: the first try is at work still
			t.Fatalf("attach: %d %s, %v", a.Status, a.Body, err)
		}
		return a.Status == http.StatusAccepted
	})
	a := r.look(t, &r.source)
	if got := a.Text("instance", "configuration", "id"); got != r.group {
		t.Errorf("the group %q is attached, want %s", got, r.group)
	}
	if got, err := r.store.setting(t.Context(), r.source.login, p[0]); err != nil || got != p[1] {
		t.Errorf("%s: %s = %q, want %q (err %v)", r.name, p[0], got, p[1], err)
	}
}

func (r *trial) replicate(t *testing.T) {
	t.Helper()
	name := r.name + "-replica"
	for r.replica.id == "" {
		a, _, err := r.ask(http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":%q,"replica_of":%q}}`, name, r.source.id))
		if err != nil {
			t.Fatal(err)
		}
		if ids := r.named(t, name); len(ids) > 0 {
			r.replica.id = ids[0]
		} else if a.Status != http.StatusUnprocessableEntity {
			t.Fatalf("replicate: %d %s", a.Status, a.Body)
		}
	}
	r.instances = append(r.instances, r.replica.id)
	r.look(t, &r.replica)
	r.look(t, &r.source)
	if r.replica.fault != "" {
		t.Errorf("no replica: %s", r.replica.fault)
		return
	}
	r.fill(t, 20)
	r.holds(t, "the replica", r.replica, r.items)
}

// promote makes the replica the source. Whoever is the source in the end has everything and takes writes.
func (r *trial) promote(t *testing.T) {
	t.Helper()
	if r.replica.id == "" || r.replica.fault != "" {
		return
	}
	r.do(t, http.StatusAccepted, func(a gatewaytest.Answer) bool { return busy(a) || a.Status == http.StatusBadRequest },
		http.MethodPost, gatewaytest.Instance(r.replica.id)+"/action", `{"promote_to_replica_source":{}}`)
	promoted := r.look(t, &r.replica)
	r.look(t, &r.source)
	if promoted.At("instance", "replica_of") == nil {
		r.source, r.replica = r.replica, r.source
	} else {
		t.Logf("%s: the replica was not promoted: %s", r.name, r.replica.fault)
	}
	if r.source.fault != "" {
		t.Errorf("the source is in ERROR: %s", r.source.fault)
	}
	r.holds(t, "the source", r.source, r.items)
	r.fill(t, 20)
	if r.replica.fault == "" {
		r.holds(t, "the replica", r.replica, r.items)
	}
}

// remove takes everything away, the replica before its source.
func (r *trial) remove(t *testing.T) {
	t.Helper()
	for _, m := range []member{r.copy, r.replica, r.source} {
		if m.id != "" {
			r.world.remove(t, m.id)
		}
	}
	a := r.do(t, http.StatusOK, nil, http.MethodGet, "/backups", "")
	var ids []string
	for i := 0; a.At("backups", i) != nil; i++ {
		ids = append(ids, a.Text("backups", i, "id"))
	}
	slices.Sort(ids)
	for _, id := range ids {
		r.do(t, http.StatusAccepted, gone, http.MethodDelete, "/backups/"+id, "")
	}
	r.do(t, http.StatusAccepted, gone, http.MethodDelete, "/configurations/"+r.group, "")
}
