package gatewaytest_test

import (
	"fmt"
	"net/http"
	"os"
	"slices"
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
	rows := strings.TrimSuffix(strings.Repeat(fmt.Sprintf("(1, '%s'),", strings.Repeat("x", 1000)), 100), ",")
	var lags []time.Duration
	var times []time.Time
	var bytes []int64
	begun, sampled := time.Now(), time.Now()
	for time.Since(begun) < load {
		until.Passed(50 * time.Millisecond) // of 100 KB: about 2 MB a second, for which the volume has room
		if _, err := db.ExecContext(t.Context(), "INSERT INTO filler VALUES "+rows); err != nil {
			t.Fatal(err)
		}
		if len(times) < parts && time.Since(begun) > load*time.Duration(len(times)+1)/(parts+1) {
			size, _ := window().At("restorable", "windows", 0, "log_bytes").(float64)
			times, bytes = append(times, time.Now()), append(bytes, int64(size))
		}
		if time.Since(sampled) < 100*time.Millisecond {
			continue
		}
		sampled = time.Now()
		if at, err := time.Parse(time.RFC3339Nano, window().Text("restorable", "windows", 0, "until")); err == nil {
			lags = append(lags, time.Since(at))
		}
	}
	slices.Sort(lags)
	total, _ := window().At("restorable", "windows", 0, "log_bytes").(float64)
	t.Logf("%s: %.1f MB of log a second, as it is kept; what was shipped is behind by p50 %s, p99 %s of %d looks (rpo %d s)", d, total/1e6/load.Seconds(),
		lags[len(lags)/2].Round(time.Millisecond), lags[len(lags)*99/100].Round(time.Millisecond), len(lags), rpo)
	for i, at := range times {
		from := time.Now()
		then := w.tenant.create(t, fmt.Sprintf("then-%d", i), d, fmt.Sprintf(`,"restorePoint":{"instance_id":%q,"time":%q}`, id, at.UTC().Format(time.RFC3339Nano)))
		w.instances = append(w.instances, then)
		w.Await(t, then, "ACTIVE", 5*patience)
		t.Logf("%s: back to after about %.0f MB of log, as it is kept, in %s", d, float64(bytes[i])/1e6, time.Since(from).Round(100*time.Millisecond))
		w.remove(t, then)
	}
	w.remove(t, id)
}
