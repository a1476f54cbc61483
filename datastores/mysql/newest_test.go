package mysql

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// newestOptions are those of MariaDB 11.8 in a tree of Debian 13, whose programs are copied and told to use the tree's loader
// and libraries.
func newestOptions(t testing.TB) Options {
	t.Helper()
	programs, err := newestPrograms(t)
	if err != nil {
		t.Fatal(err)
	}
	o := DefaultOptions()
	o.Version = "11.8"
	o.Program = filepath.Join(programs, "mariadbd")
	o.ToolsDir = programs
	o.ShareDir = filepath.Join(tree(), "usr/share/mariadb")
	return o
}

func tree() string {
	if dir := os.Getenv("COFFER_TRIXIE"); dir != "" {
		return dir
	}
	return "/var/cache/coffer/trixie"
}

var newest struct {
	once sync.Once
	dir  string
	err  error
}

func newestPrograms(t testing.TB) (string, error) {
	datastoretest.Require(t, "/usr/bin/patchelf", "patchelf")
	datastoretest.Require(t, filepath.Join(tree(), "usr/sbin/mariadbd"), "a tree of Debian 13 with mariadb-server and mariadb-backup")
	newest.once.Do(func() { newest.dir, newest.err = copyPrograms() })
	return newest.dir, newest.err
}

func copyPrograms() (string, error) {
	dir, err := os.MkdirTemp("/tmp", "coffer-mariadb")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return dir, err
	}
	libraries := tree() + "/usr/lib/x86_64-linux-gnu:" + tree() + "/lib/x86_64-linux-gnu"
	for _, name := range []string{
		"sbin/mariadbd", "bin/mariadb-backup", "bin/mbstream", "bin/mariadb-dump", "bin/mariadb", "bin/mariadb-upgrade", "bin/mariadb-check",
	} {
		program, err := os.ReadFile(filepath.Join(tree(), "usr", name))
		if err != nil {
			return dir, err
		}
		to := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(to, program, 0o755); err != nil {
			return dir, err
		}
		patch := exec.Command("/usr/bin/patchelf", "--set-interpreter", tree()+"/lib64/ld-linux-x86-64.so.2",
			"--force-rpath", "--set-rpath", libraries, to)
		if err := patch.Run(); err != nil {
			return dir, err
		}
	}
	return dir, nil
}

func TestMain(m *testing.M) {
	code := m.Run()
	if newest.dir != "" {
		_ = os.RemoveAll(newest.dir)
	}
	os.Exit(code)
}

// TestNewest has MariaDB 11.8 take over what 10.11 has left, and be the source of a replica of its own version, which is
// promoted then: what differs from version to version is in there.
func TestNewest(t *testing.T) {
	ctx := t.Context()
	old := prepared(t)
	tenant(t, old)
	must(t, old.Stop(ctx))
	from, err := json.Marshal(DefaultOptions())
	must(t, err)
	source := New(old.env, newestOptions(t))
	for range 2 {
		must(t, source.Upgrade(ctx, datastores.UpgradeRequest{From: from, Progress: func(string) {}}))
	}
	_, err = source.EnableRoot(ctx, secret("pass"))
	must(t, err)
	_, err = write(ctx, loginTo(source), 20, 30)
	must(t, err)
	replica := followWith(t, source, New(newEnv(t), newestOptions(t)))
	caughtUp(t, source, replica)
	must(t, source.replication().SetReadOnly(ctx, true))
	must(t, replica.replication().Promote(ctx, []datastores.ReplicaAccount{replicaAccount(source)}))
	req := attachment(replica, source, nil)
	req.Former = true
	must(t, source.replication().Attach(ctx, req))
	_, err = write(ctx, loginTo(replica), 30, 40)
	must(t, err)
	caughtUp(t, replica, source)
	if items, _, err := digest(ctx, loginTo(source)); err != nil || items != 40 {
		t.Errorf("the former source has %d items, %v; want 40", items, err)
	}
}

// preparedNewest is prepared of MariaDB 11.8.
func preparedNewest(t testing.TB) *Manager {
	t.Helper()
	m := New(newEnv(t), newestOptions(t))
	stopInTheEnd(t, m)
	must(t, m.Prepare(t.Context(), quietly()))
	return m
}
