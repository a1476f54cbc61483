package gatewaytest_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestBenchCreate measures from create to ACTIVE on a real Redis, in a sandbox and as a plain process, beside the server's own
// start, in one run; and what its guest weighs meanwhile. `task bench` sets COFFER_BENCH.
func TestBenchCreate(t *testing.T) {
	if os.Getenv("COFFER_BENCH") == "" {
		t.Skip("a benchmark: set COFFER_BENCH=1")
	}
	const rounds = 9
	boxed, plain := benchStages(t)
	took := map[*stage][]time.Duration{}
	weight := map[*stage]string{}
	var alone []time.Duration
	for i := range rounds {
		for _, s := range []*stage{boxed, plain} {
			began := time.Now()
			id := s.member.Want(t, http.StatusOK, http.MethodPost, "/instances", fmt.Sprintf(
				`{"instance":{"name":"bench%d","flavorRef":"1","volume":{"size":1},"datastore":{"type":"redis"}}}`, i)).Text("instance", "id")
			s.owns(id)
			until.Promptly(t, time.Minute, "ACTIVE", func() bool {
				return s.member.Do(t, http.MethodGet, gatewaytest.Instance(id), "").Text("instance", "status") == "ACTIVE"
			})
			took[s] = append(took[s], time.Since(began))
			weight[s] = s.weight(t, id)
			s.member.Want(t, http.StatusAccepted, http.MethodDelete, gatewaytest.Instance(id), "")
			s.member.AwaitGone(t, id, time.Minute)
		}
		alone = append(alone, startRedis(t, plain.machine.address(100+i, 6379)))
	}
	slices.Sort(alone)
	for _, s := range []*stage{boxed, plain} {
		slices.Sort(took[s])
		t.Logf("create to ACTIVE, redis, %s: p50 %s, of which the server's own start %s; beyond it %s (bar 300 ms); redis-guest, idle: %s (bar 12 MB)",
			s.machine.driver(), took[s][rounds/2], alone[rounds/2], took[s][rounds/2]-alone[rounds/2], weight[s])
	}
}

// benchStages are two hosts beside each other: with sandboxes, and without.
func benchStages(t *testing.T) (boxed, plain *stage) {
	t.Helper()
	requireFirewall(t, "coffer_test_bench")
	m := newMachine(t)
	m.wallless()
	return newStage(t), newStageOn(t, m)
}

// TestBenchThroughput has pgbench at a PostgreSQL in a sandbox and at one that is a plain process, in turn, in one run.
func TestBenchThroughput(t *testing.T) {
	if os.Getenv("COFFER_BENCH") == "" {
		t.Skip("a benchmark: set COFFER_BENCH=1")
	}
	boxed, plain := benchStages(t)
	at := map[*stage]login{}
	for _, s := range []*stage{boxed, plain} {
		_, _, address := s.create(t, postgresqlStore, postgresqlStore.tenantPart())
		at[s] = postgresqlStore.login(address, "")
		pgbench(t, at[s], "-i", "-q", "-s", "10")
	}
	for _, load := range [][]string{{"select only", "-S"}, {"TPC-B-like", "-N"}} {
		tps := map[*stage]float64{}
		for range 3 {
			for _, s := range []*stage{boxed, plain} {
				tps[s] = max(tps[s], pgbench(t, at[s], "-c", "4", "-j", "2", "-T", "10", load[1]))
			}
		}
		t.Logf("pgbench, %s, 4 clients: %.0f per second in a sandbox, %.0f as a plain process; ratio %.2f", load[0], tps[boxed], tps[plain], tps[boxed]/tps[plain])
	}
}

// pgbench returns what it counted of transactions a second; 0 when it only made its tables.
func pgbench(t *testing.T, l login, args ...string) (tps float64) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/usr/lib/postgresql/15/bin/pgbench", append(args, "-h", l.address, "-U", l.user, l.database)...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+l.password)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("pgbench: %v\n%s", err, out)
	}
	if _, after, ok := strings.Cut(string(out), "tps = "); ok {
		_, _ = fmt.Sscan(after, &tps)
	}
	return tps
}

// startRedis measures how long a bare Redis takes until it answers.
func startRedis(t *testing.T, address string) time.Duration {
	t.Helper()
	host, port, _ := strings.Cut(address, ":")
	cmd := exec.Command("/usr/bin/redis-server", "--bind", host, "--port", port, "--dir", t.TempDir(), "--appendonly", "yes")
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	until.Promptly(t, 10*time.Second, "a bare redis", func() bool {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		defer conn.Close()
		_, _ = conn.Write([]byte("PING\r\n"))
		pong := make([]byte, 7)
		_, err = conn.Read(pong)
		return err == nil
	})
	return time.Since(began)
}

// weight reads the resident memory of an instance's guest off /proc.
func (s *stage) weight(t *testing.T, id string) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.machine.guests()[id]))
	if err != nil {
		t.Fatal(err)
	}
	_, rss, _ := strings.Cut(string(status), "VmRSS:")
	rss, _, _ = strings.Cut(rss, "\n")
	return strings.Join(strings.Fields(rss), " ")
}

// TestBenchGuests tells what the guest binaries weigh and how long one takes to start.
func TestBenchGuests(t *testing.T) {
	if os.Getenv("COFFER_BENCH") == "" {
		t.Skip("a benchmark: set COFFER_BENCH=1")
	}
	for _, engine := range []string{"redis", "mysql"} {
		out := filepath.Join(t.TempDir(), engine+"-guest")
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "./datastores/"+engine+"/cmd/"+engine+"-guest")
		build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
		if text, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		info, err := os.Stat(out)
		if err != nil {
			t.Fatal(err)
		}
		var starts []time.Duration
		for range 21 {
			began := time.Now()
			if err := exec.Command(out, "version").Run(); err != nil {
				t.Fatal(err)
			}
			starts = append(starts, time.Since(began))
		}
		slices.Sort(starts)
		t.Logf("%s-guest: %.1f MB stripped (bar 10), starts and ends in %s (bar 10 ms)", engine, float64(info.Size())/1e6, starts[10])
	}
}
