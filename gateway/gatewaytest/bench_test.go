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

// TestBenchCreate measures from create to ACTIVE on a real Redis, beside the server's own start, in one run; and what its
// guest weighs meanwhile. `task bench` sets COFFER_BENCH.
func TestBenchCreate(t *testing.T) {
	if os.Getenv("COFFER_BENCH") == "" {
		t.Skip("a benchmark: set COFFER_BENCH=1")
	}
	const rounds = 9
	s := newStage(t)
	var created, alone []time.Duration
	var weight string
	for i := range rounds {
		began := time.Now()
		id := s.member.Want(t, http.StatusOK, http.MethodPost, "/instances", fmt.Sprintf(
			`{"instance":{"name":"bench%d","flavorRef":"1","volume":{"size":1},"datastore":{"type":"redis"}}}`, i)).Text("instance", "id")
		until.True(t, time.Minute, "ACTIVE", func() bool {
			return s.member.Do(t, http.MethodGet, gatewaytest.Instance(id), "").Text("instance", "status") == "ACTIVE"
		})
		created = append(created, time.Since(began))
		alone = append(alone, startRedis(t, s.machine.address(200+i, 6379)))
		weight = s.weight(t, id)
		s.member.Want(t, http.StatusAccepted, http.MethodDelete, gatewaytest.Instance(id), "")
		s.member.AwaitGone(t, id, time.Minute)
	}
	slices.Sort(created)
	slices.Sort(alone)
	t.Logf("create to ACTIVE, redis: p50 %s, of which the server's own start %s; beyond it %s (bar 300 ms)",
		created[rounds/2], alone[rounds/2], created[rounds/2]-alone[rounds/2])
	t.Logf("redis-guest, idle: %s (bar 12 MB)", weight)
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
	until.True(t, 10*time.Second, "a bare redis", func() bool {
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
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(line), "redis-guest") || !strings.Contains(string(line), id) {
			continue
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(path), "status"))
		if err != nil {
			continue
		}
		for _, l := range strings.Split(string(status), "\n") {
			if rss, ok := strings.CutPrefix(l, "VmRSS:"); ok {
				return strings.Join(strings.Fields(rss), " ") + " resident"
			}
		}
	}
	t.Fatalf("the guest of %s was not found", id)
	return ""
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
