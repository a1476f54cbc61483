package deployments_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/agentpoll/server"
	"github.com/cofferdb/coffer/datastores"
)

// What a guest may take.
const (
	maxBinary = 10 << 20 // bytes, stripped
	maxIdle   = 12 << 10 // KiB of memory, enrolled and polling
)

// A guest links its own engine and none of these.
var notForGuests = []string{"github.com/labstack/echo/", "go.etcd.io/etcd/", "google.golang.org/grpc", module + "/etcdschema", module + "/gateway"}

// sizes is what a guest takes.
type sizes struct {
	name              string
	bytes             int64
	packages, foreign int // linked; of them neither Go's nor this module's
	idle              int // KiB
	start             time.Duration
}

// TestSizes builds every guest as it is released, runs it against a gateway, and holds it to the budgets. With -update the
// table goes to docs/sizes.md.
func TestSizes(t *testing.T) {
	guests, err := filepath.Glob("../datastores/*/cmd/*-guest")
	if err != nil || len(guests) < 2 {
		t.Fatalf("guests: %q, %v", guests, err)
	}
	table := "| guest | binary | packages linked | of others | idle memory | start to poll |\n|---|---|---|---|---|---|\n"
	for _, dir := range append(guests, outsiders(t)) {
		s := measure(t, dir)
		table += fmt.Sprintf("| %s | %.1f MB | %d | %d | %.1f MB | %.1f ms |\n", s.name, float64(s.bytes)/(1<<20), s.packages, s.foreign,
			float64(s.idle)/(1<<10), float64(s.start.Microseconds())/1000)
		if s.bytes > maxBinary {
			t.Errorf("%s has %d bytes, more than %d", s.name, s.bytes, maxBinary)
		}
		if s.idle > maxIdle {
			t.Errorf("%s takes %d KiB when idle, more than %d", s.name, s.idle, maxIdle)
		}
	}
	// Measured on Debian 12: what the agent's packages add, a started MySQL manager without its container engine.
	table += "| Trove 18's guest agent | 295 MB | 248 of Debian | | 103 MB | 1060 ms |\n"
	t.Log("\n" + table)
	if *update {
		keepTable(t, "../docs/sizes.md", "sizes", table, "TestSizes")
	}
}

// outsiders is the example's command, in a copy of its module that takes this one as it lies here.
func outsiders(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(example)); err != nil {
		t.Fatal(err)
	}
	run(t, nil, dir, "go", "mod", "edit", "-replace", module+"="+root)
	return filepath.Join(dir, "cmd/memcached-guest")
}

func measure(t *testing.T, dir string) sizes {
	t.Helper()
	s := sizes{name: filepath.Base(dir)}
	env := append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if _, err := os.Stat(filepath.Join(dir, "../../go.mod")); err == nil {
		env = append(env, "GOFLAGS=-mod=mod -buildvcs=false")
	}
	binary := filepath.Join(t.TempDir(), s.name)
	run(t, env, dir, "go", "build", "-trimpath", "-tags", "nethttpomithttp2", "-ldflags", "-s -w", "-o", binary, ".")
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	s.bytes = info.Size()
	engine := module + "/datastores/" + strings.TrimSuffix(s.name, "-guest")
	for line := range strings.Lines(run(t, env, dir, "go", "list", "-deps", "-f", "{{.ImportPath}} {{.Standard}}", ".")) {
		path, standard, _ := strings.Cut(strings.TrimSpace(line), " ")
		s.packages++
		if standard == "false" && !strings.HasPrefix(path, module+"/") && !strings.HasPrefix(path, "example.org/") {
			s.foreign++
		}
		if slices.ContainsFunc(notForGuests, func(f string) bool { return strings.HasPrefix(path, f) }) || anotherEngine(path, engine) {
			t.Errorf("%s links %s", s.name, path)
		}
	}
	s.idle, s.start = live(t, binary)
	return s
}

// anotherEngine reports whether a package is of an engine of this repository other than that one.
func anotherEngine(path, engine string) bool {
	rest, ours := strings.CutPrefix(path, module+"/datastores/")
	name, _, _ := strings.Cut(rest, "/")
	if !ours || path == engine || strings.HasPrefix(path, engine+"/") {
		return false
	}
	commands, _ := filepath.Glob("../datastores/" + name + "/cmd/*-guest")
	return len(commands) > 0
}

// live enrols a guest and returns how much memory it takes after some polls, and the median time from its start to a poll.
func live(t *testing.T, binary string) (idle int, start time.Duration) {
	t.Helper()
	gateway := agentpolltest.NewServerOn(t, listen(t), server.Config{Hold: 2 * time.Second})
	config := guestConfig(t, gateway)
	var times []time.Duration
	for n := range 11 {
		before, began := gateway.Polls(), time.Now()
		cmd := exec.Command(binary, "run", "-config", config)
		var log strings.Builder
		cmd.Stderr = &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		await(t, func() bool { return gateway.Polls() > before }, &log)
		times = append(times, time.Since(began))
		if n == 0 {
			await(t, func() bool { return gateway.Polls() > before+2 }, &log)
			idle = resident(t, cmd.Process.Pid)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	times = times[1:] // the first has enrolled, too
	slices.Sort(times)
	return idle, times[len(times)/2]
}

// guestConfig is the file of a guest of a new instance.
func guestConfig(t *testing.T, gateway *agentpolltest.Server) string {
	t.Helper()
	dir := t.TempDir()
	token, id := gateway.Token(nil)
	b, err := json.Marshal(datastores.GuestConfig{
		InstanceID: id, Gateways: []string{gateway.URL}, AllowHTTP: true, Token: datastores.NewSecret(token).ForSealing(),
		Dir: filepath.Join(dir, "guest"), Root: filepath.Join(dir, "root"), Address: "127.0.0.1", UID: -1, GID: -1, MemoryMB: 512,
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "guest.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func await(t *testing.T, done func() bool, log fmt.Stringer) {
	t.Helper()
	if !until.Holds(30*time.Second, done) {
		t.Fatalf("the guest does not poll:\n%s", log)
	}
}

// resident is how much memory a process has, in KiB.
func resident(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	var kib int
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}
