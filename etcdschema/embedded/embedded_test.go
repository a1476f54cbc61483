package embedded_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/embedded"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
)

// childDir makes the test binary an etcd of its own, for a parent that means to kill it.
const childDir = "COFFER_TEST_ETCD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		s, err := embedded.Start(context.Background(), config(dir))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(s.Endpoint())
		<-s.Failed()
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func config(dir string) embedded.Config {
	return embedded.Config{Dir: filepath.Join(dir, "inside"), Log: slog.New(slog.DiscardHandler)}
}

func start(t *testing.T, dir string) *embedded.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := embedded.Start(ctx, config(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// process runs an etcd in a process of its own, and returns that and the endpoint.
func process(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	endpoint, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return child, strings.TrimSpace(endpoint)
}

func TestDataSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	child, endpoint := process(t, dir)
	before, err := etcdtest.Open(t, endpoint).EnsureEpoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	after, err := etcdtest.Open(t, start(t, dir).Endpoint()).EnsureEpoch(t.Context())
	if err != nil || after != before {
		t.Errorf("after kill -9 there is %+v, %v; before it was %+v", after, err, before)
	}
}

func TestEtcdctlWorks(t *testing.T) {
	datastoretest.Require(t, "/usr/bin/etcdctl", "etcd-client")
	s := start(t, t.TempDir())
	put := exec.CommandContext(t.Context(), "etcdctl", "--endpoints", s.Endpoint(), "put", "/server/flavors/1", "ram: 512\nvcpus: 1\n")
	put.Env = append(os.Environ(), "ETCDCTL_API=3")
	if out, err := put.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("OK")) {
		t.Fatalf("etcdctl put: %v\n%s", err, out)
	}
	store := etcdtest.Open(t, s.Endpoint())
	if space, err := store.Space(t.Context()); err != nil || space.Quota != 4<<30 || space.Size == 0 || space.Full {
		t.Errorf("its space is %+v, %v", space, err)
	}
	f, err := etcdschema.Get(t.Context(), store, etcdschema.FlavorKey("1"))
	if err != nil || f.Value.RAM != 512 {
		t.Errorf("what etcdctl put is read as %+v, %v", f.Value, err)
	}
}

func TestOneProcessADirectory(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	if _, err := embedded.Start(t.Context(), config(dir)); err == nil || !strings.Contains(err.Error(), "another") {
		t.Errorf("a second etcd in the same directory: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, dir)
}

func TestPrivate(t *testing.T) {
	dir := t.TempDir()
	start(t, dir)
	dir += "/inside"
	for path, want := range map[string]fs.FileMode{dir: 0o700, dir + "/etcd": 0o700, dir + "/client.sock": 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
}

// Another user of the machine, such as a tenant's database server, gets nowhere, even when the directories above are open;
// and there is no port for anybody, in a browser either.
func TestNobodyElseGetsIn(t *testing.T) {
	datastoretest.Require(t, "/usr/bin/etcdctl", "etcd-client")
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be another user")
	}
	short, err := os.MkdirTemp("", "etcd")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	if err := os.Chmod(short, 0o755); err != nil {
		t.Fatal(err)
	}
	child, endpoint := process(t, short)
	get := func(uid uint32) (string, error) {
		cmd := exec.CommandContext(t.Context(), "etcdctl", "--endpoints", endpoint, "--dial-timeout", "1s", "--command-timeout", "1s", "get", "--prefix", "/")
		cmd.Env = []string{"ETCDCTL_API=3"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := get(0); err != nil {
		t.Fatalf("root: %v\n%s", err, out)
	}
	if out, err := get(20_101); err == nil {
		t.Errorf("another user reads etcd:\n%s", out)
	}
	if err := os.Chmod(filepath.Join(short, "inside"), 0o755); err != nil { // somebody's mistake
		t.Fatal(err)
	}
	if out, err := get(20_101); err == nil {
		t.Errorf("another user reads etcd, with the directory open:\n%s", out)
	}
	if ports := listening(t, child.Process.Pid); len(ports) > 0 {
		t.Errorf("etcd listens at %q", ports)
	}
}

// listening returns the local addresses, in hexadecimal, of the TCP sockets on which a process listens.
func listening(t *testing.T, pid int) (found []string) {
	t.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(fds) == 0 {
		t.Fatalf("the files of process %d: %v", pid, err)
	}
	own := map[string]bool{}
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil {
			own[target] = true
		}
	}
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && own["socket:["+f[9]+"]"] {
				found = append(found, f[1])
			}
		}
	}
	return found
}

func TestBadPlaces(t *testing.T) {
	open := t.TempDir()
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	for socket, says := range map[string]string{
		"/tmp/" + strings.Repeat("x", 103) + "/s": "110 bytes",
		filepath.Join(open, "s"):                  "chmod 700",
	} {
		s, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir() + "/new", Socket: socket, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want %q", socket, err, says)
		}
	}
}

func TestStartTwoAtOnce(t *testing.T) {
	a, b := start(t, t.TempDir()), start(t, t.TempDir())
	if a.Endpoint() == b.Endpoint() {
		t.Errorf("both at %s", a.Endpoint())
	}
}
