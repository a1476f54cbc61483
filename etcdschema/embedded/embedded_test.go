package embedded_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
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
	return embedded.Config{Dir: dir, ClientAddr: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)}
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

func TestDataSurvivesKill(t *testing.T) {
	dir := t.TempDir()
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
	endpoint, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	before, err := etcdtest.Open(t, strings.TrimSpace(endpoint)).EnsureEpoch(t.Context())
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
	for _, addr := range []string{"0.0.0.0:0", ":2379", "192.0.2.1:2379", "example.org:2379", "127.0.0.1"} {
		if s, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), ClientAddr: addr}); err == nil {
			t.Errorf("%s is taken for a loopback address", addr)
			_ = s.Close()
		}
	}
	dir := t.TempDir() + "/new"
	start(t, dir)
	for _, path := range []string{dir, dir + "/etcd"} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v; want 0700", path, info.Mode(), err)
		}
	}
}

func TestStartTwoAtOnce(t *testing.T) {
	a, b := start(t, t.TempDir()), start(t, t.TempDir())
	if a.Endpoint() == b.Endpoint() {
		t.Errorf("both at %s", a.Endpoint())
	}
}
