package gatewaytest_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestBenchPointInTime measures, of a server under load, how far what was shipped of its log is behind, and how long it takes to be what it was after
// ever more of it. `task bench` sets COFFER_BENCH.
func TestBenchPointInTime(t *testing.T) {
	if os.Getenv("COFFER_BENCH") == "" {
		t.Skip("a benchmark: set COFFER_BENCH=1")
	}
	for _, d := range []datastore{postgresqlStore, mariadbStore} {
		t.Run(string(d), func(t *testing.T) { benchPointInTime(t, d) })
	}
}

func benchPointInTime(t *testing.T, d datastore) {
	const rpo, load, parts = 30, 90 * time.Second, 3
	w := newWorld(t, programs(t), true)
	id := w.tenant.create(t, "shop", d, d.tenantPart()+fmt.Sprintf(`,"pitr":{"enabled":true,"rpo":%d}`, rpo))
	w.instances = append(w.instances, id)
	l := d.login(w.Await(t, id, "ACTIVE", patience).Text("instance", "ip", 0), "")
	window := func() gatewaytest.Answer { return w.Do(t, http.MethodGet, gatewaytest.Instance(id)+"/restorable", "") }
	until.True(t, patience, "there is a base backup", func() bool { return window().At("restorable", "windows", 0) != nil })
	db, err := d.sql(l)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE filler (n INT, v VARCHAR(1000))"); err != nil {
		t.Fatal(err)
	}
	direct := shipDirectly(t, d, d.login(l.address, ""), w.Want(t, http.StatusOK, http.MethodPost, gatewaytest.Instance(id)+"/root", ""))
	rows := func() string {
		var all []string
		for range 100 {
			noise := make([]byte, 500)
			_, _ = rand.Read(noise)
			all = append(all, fmt.Sprintf("(1, '%x')", noise))
		}
		return strings.Join(all, ",")
	}
	var lags, directly []time.Duration
	var times []time.Time
	var bytes []int64
	begun, sampled := time.Now(), time.Now()
	for time.Since(begun) < load {
		until.Passed(50 * time.Millisecond) // of 100 KB: about 2 MB a second, for which the volume has room
		if _, err := db.ExecContext(t.Context(), "INSERT INTO filler VALUES "+rows()); err != nil {
			t.Fatal(err)
		}
		if len(times) < parts && time.Since(begun) > load*time.Duration(len(times)+1)/(parts+1) {
			size, _ := window().At("restorable", "windows", 0, "log_bytes").(float64)
			times, bytes = append(times, time.Now()), append(bytes, int64(size))
		}
		if time.Since(sampled) < 100*time.Millisecond {
			continue
		}
		directly = append(directly, direct())
		sampled = time.Now()
		if at, err := time.Parse(time.RFC3339Nano, window().Text("restorable", "windows", 0, "until")); err == nil {
			lags = append(lags, time.Since(at))
		}
	}
	slices.Sort(lags)
	slices.Sort(directly)
	total, _ := window().At("restorable", "windows", 0, "log_bytes").(float64)
	t.Logf("%s: %.1f MB of log a second, as it is kept; what was shipped is behind by p50 %s, p99 %s of %d looks (rpo %d s); the tool that "+
		"streams it into a directory, by p50 %s, p99 %s", d, total/1e6/load.Seconds(), lags[len(lags)/2].Round(time.Millisecond), lags[len(lags)*99/100].Round(time.Millisecond),
		len(lags), rpo, directly[len(directly)/2].Round(100*time.Microsecond), directly[len(directly)*99/100].Round(100*time.Microsecond))
	for i, at := range times {
		from := time.Now()
		then := w.tenant.create(t, fmt.Sprintf("then-%d", i), d, fmt.Sprintf(`,"restorePoint":{"instance_id":%q,"time":%q}`, id, at.UTC().Format(time.RFC3339Nano)))
		w.instances = append(w.instances, then)
		w.Await(t, then, "ACTIVE", 5*patience)
		t.Logf("%s: back to after about %.0f MB of log, as it is kept, in %s", d, float64(bytes[i])/1e6, time.Since(from).Round(100*time.Millisecond))
		w.remove(t, then)
	}
	w.removeWithBackups(t, id)
	w.end(t)
}

// shipDirectly has the engine's own tool stream the log of a server into a directory. What it returns tells how long it takes until that has what is written now.
func shipDirectly(t *testing.T, d datastore, l login, root gatewaytest.Answer) (lag func() time.Duration) {
	t.Helper()
	dir := t.TempDir()
	l.user, l.password = root.Text("user", "name"), root.Text("user", "password")
	db, err := d.sql(l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var tool *exec.Cmd
	var reached func(at string) bool
	position := func() (at string) {
		must(db.QueryRowContext(t.Context(), "SELECT pg_current_wal_lsn()").Scan(&at))
		return at
	}
	if d == postgresqlStore {
		for _, statement := range []string{"CREATE ROLE direct LOGIN REPLICATION PASSWORD 'd1rect'", "GRANT os_replicas TO direct"} {
			_, err := db.ExecContext(t.Context(), statement)
			must(err)
		}
		tool = exec.CommandContext(t.Context(), "pg_receivewal", "-h", l.address, "-U", "direct", "-D", dir, "--synchronous", "--no-loop")
		tool.Env = append(os.Environ(), "PGPASSWORD=d1rect", "PGSSLMODE=disable")
		reached = func(at string) (yes bool) {
			must(db.QueryRowContext(t.Context(), "SELECT coalesce(bool_or(flush_lsn >= $1::pg_lsn), false) FROM pg_stat_replication WHERE application_name = 'pg_receivewal'", at).Scan(&yes))
			return yes
		}
	} else {
		position = func() (at string) {
			var file, do, ignore string
			must(db.QueryRowContext(t.Context(), "SHOW MASTER STATUS").Scan(&file, &at, &do, &ignore))
			return file + ":" + at
		}
		tool = exec.CommandContext(t.Context(), "mariadb-binlog", "--raw", "--read-from-remote-server", "--stop-never", "--host="+l.address, "--user="+l.user, "--result-file="+dir+"/", "binlog.000001")
		tool.Env = append(os.Environ(), "MYSQL_PWD="+l.password)
		reached = func(at string) bool {
			file, position, _ := strings.Cut(at, ":")
			want, err := strconv.ParseInt(position, 10, 64)
			must(err)
			info, err := os.Stat(filepath.Join(dir, file))
			return err == nil && info.Size() >= want
		}
	}
	tool.Stderr = os.Stderr
	must(tool.Start())
	t.Cleanup(func() {
		_ = tool.Process.Kill()
		_ = tool.Wait()
	})
	return func() time.Duration {
		at, begun := position(), time.Now()
		until.Promptly(t, time.Minute, "the tool has what was written", func() bool { return reached(at) })
		return time.Since(begun)
	}
}
