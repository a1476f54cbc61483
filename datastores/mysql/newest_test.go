package mysql

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

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
	return "/opt/trixie"
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

// TestSuiteOfNewest runs the suite with MariaDB 11.8, which takes over what 10.11 has left.
func TestSuiteOfNewest(t *testing.T) {
	t.Parallel()
	h := harness()
	options, err := json.Marshal(newestOptions(t))
	must(t, err)
	older, err := json.Marshal(DefaultOptions())
	must(t, err)
	h.Options, h.Older = options, older
	datastoretest.Run(t, h)
}

// preparedNewest is prepared of MariaDB 11.8.
func preparedNewest(t testing.TB) *Manager {
	t.Helper()
	m := New(newEnv(t), newestOptions(t))
	stopInTheEnd(t, m)
	must(t, m.Prepare(t.Context(), quietly()))
	return m
}
