package gatewaytest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestPointInTimeUnderFire writes row after row with its time, kills the gateway and the guest in between, and then has servers as they
// were at many of those times: each row is there, or not, as it must be. A quiet server's last row is shipped in time.
func TestPointInTimeUnderFire(t *testing.T) {
	t.Parallel()
	datastoretest.Require(t, "/usr/lib/postgresql/15/bin/postgres", "postgresql-15")
	datastoretest.Require(t, "/usr/bin/mariadb-backup", "mariadb-backup")
	// MariaDB writes down the second of what is committed.
	for d, pause := range map[datastore]time.Duration{postgresqlStore: 250 * time.Millisecond, mariadbStore: 1100 * time.Millisecond} {
		t.Run(string(d), func(t *testing.T) { backInTime(t, d, pause) })
	}
}

func backInTime(t *testing.T, d datastore, pause time.Duration) {
	const rpo, rows = 5 * time.Second, 20
	w := newWorld(t, programs(t), true)
	id := w.tenant.create(t, "shop", d, d.tenantPart()+fmt.Sprintf(`,"pitr":{"enabled":true,"rpo":%d}`, int(rpo.Seconds())))
	w.instances = append(w.instances, id)
	w.Await(t, id, "ACTIVE", patience)
	l := d.login(w.Want(t, 200, http.MethodGet, gatewaytest.Instance(id), "").Text("instance", "ip", 0), "")
	window := func() gatewaytest.Answer {
		a, _, err := w.ask(http.MethodGet, gatewaytest.Instance(id)+"/restorable", "")
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if _, err := d.write(t.Context(), l, 0, 1); err != nil {
		t.Fatal(err)
	}
	until.True(t, patience, "there is a base backup", func() bool { return window().At("restorable", "windows", 0) != nil })

	var last time.Time               // when the last row was about to be written
	times := []time.Time{time.Now()} // each after the row of that number, and before the next
	for n := 1; n < rows; n++ {
		until.Passed(pause)
		last = time.Now()
		if _, err := d.write(t.Context(), l, n, n+1); err != nil {
			t.Fatalf("row %d: %v", n, err)
		}
		until.Passed(pause)
		times = append(times, time.Now())
		var err error
		switch n {
		case 5, 15:
			err = w.gateway.strike(2 * time.Second)
		case 8, 12:
			err = w.killGuests(0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	until.True(t, patience, "the last row is shipped", func() bool {
		at, err := time.Parse(time.RFC3339Nano, window().Text("restorable", "windows", 0, "until"))
		return err == nil && at.After(last)
	})
	t.Logf("%s: the last row was shipped %s after it was written, rpo %s", d, time.Since(last).Round(time.Millisecond), rpo)

	until.Passed(pause)
	quiet := time.Now()
	if _, err := d.write(t.Context(), l, rows, rows+1); err != nil { // and silence
		t.Fatal(err)
	}
	until.True(t, patience, "the quiet row is shipped", func() bool {
		at, err := time.Parse(time.RFC3339Nano, window().Text("restorable", "windows", 0, "until"))
		return err == nil && at.After(quiet)
	})
	if took := time.Since(quiet); took > rpo {
		t.Errorf("a quiet row was shipped after %s; rpo %s", took, rpo)
	} else {
		t.Logf("%s: a quiet row was shipped after %s, rpo %s", d, took.Round(time.Millisecond), rpo)
	}
	if a := window(); a.At("restorable", "windows", 1) != nil {
		t.Errorf("there is a gap: %s", a.Body)
	}
	for _, n := range []int{1, 5, 6, 8, 12, 13, rows - 1} {
		begun := time.Now()
		then := w.tenant.create(t, fmt.Sprintf("then-%d", n), d, fmt.Sprintf(`,"restorePoint":{"instance_id":%q,"time":%q}`, id, times[n].UTC().Format(time.RFC3339Nano)))
		w.instances = append(w.instances, then)
		w.Await(t, then, "ACTIVE", patience)
		restored := l
		restored.address = w.Want(t, 200, http.MethodGet, gatewaytest.Instance(then), "").Text("instance", "ip", 0)
		numbers, err := d.read(t.Context(), restored)
		if err != nil || len(numbers) != n+1 || numbers[n] != n {
			t.Errorf("after row %d was written there were rows %v: %v", n, numbers, err)
		}
		t.Logf("%s: restored to row %d in %s", d, n, time.Since(begun).Round(10*time.Millisecond))
		w.remove(t, then)
	}
	w.removeWithBackups(t, id)
	until.True(t, patience, "the log is gone with its last backup", func() bool { return window().Status == http.StatusNotFound })
	w.end(t)
}

// removeWithBackups removes an instance, and then all backups of the project.
func (w *world) removeWithBackups(t *testing.T, id string) {
	t.Helper()
	w.remove(t, id)
	all, _, err := w.ask(http.MethodGet, "/backups", "")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; all.At("backups", i) != nil; i++ {
		w.do(t, http.StatusAccepted, gone, http.MethodDelete, "/backups/"+all.Text("backups", i, "id"), "")
	}
}

// optionGoingBack: a Redis whose backups are of its append-only file can be had as it was at any second.
func optionGoingBack(t *testing.T, s *stage) {
	v := s.newVariant(t, "opt-aof", "redis/7.0")
	created, id, address := s.create(t, v.name, "")
	at, l := gatewaytest.Instance(id), redisStore.login(address, created.Text("instance", "password"))
	on := `{"instance":{"pitr":{"enabled":true,"rpo":3}}}`
	if a := s.member.Want(t, http.StatusNotImplemented, http.MethodPatch, at, on); !strings.Contains(string(a.Body), "to one of: aof") {
		t.Errorf("with snapshots for backups: %s", a.Body)
	}
	v.change(t, v.server, "backup_strategy", "aof")
	s.member.Want(t, http.StatusAccepted, http.MethodPatch, at, on)
	window := func() gatewaytest.Answer {
		return s.member.Want(t, http.StatusOK, http.MethodGet, at+"/restorable", "")
	}
	until.True(t, lifeTimeout, "there is a base backup", func() bool { return window().At("restorable", "windows", 0) != nil })
	write := func(from, to int) {
		if n, err := redisStore.write(t.Context(), l, from, to); n != to-from {
			t.Fatal(err)
		}
		until.Passed(1100 * time.Millisecond)
	}
	write(0, 10)
	then := time.Now()
	until.Passed(1100 * time.Millisecond)
	write(10, 20)
	if a := window(); a.At("restorable", "windows", 0, "precision") != 1.0 {
		t.Errorf("the log has whole seconds: %s", a.Body)
	}
	for _, c := range []struct {
		at   time.Time
		want int
	}{{then, 10}, {time.Now(), 20}} {
		made, _, address := s.create(t, v.name, fmt.Sprintf(`,"restorePoint":{"instance_id":%q,"time":%q}`, id, c.at.UTC().Format(time.RFC3339Nano)))
		numbers, err := redisStore.read(t.Context(), redisStore.login(address, made.Text("instance", "password")))
		if err != nil || len(numbers) != c.want {
			t.Errorf("as of %s there are the items %v: %v, want %d", c.at, numbers, err, c.want)
		}
	}
	if a := window(); a.At("restorable", "windows", 1) != nil {
		t.Errorf("there is a gap: %s", a.Body)
	}
}
