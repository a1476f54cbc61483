package couchbasetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cofferdb/coffer/datastores/couchbase/couchbasetest/double"
)

// Programs is a directory with the double's programs, of each version in a directory of its own.
type Programs string

// Build builds them. They are gone with the test.
func Build(t testing.TB) Programs {
	t.Helper()
	dir, err := os.MkdirTemp("", "coffer-couchbase") // not t.TempDir: the servers' users must get in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	built := filepath.Join(dir, "double")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", built, "github.com/cofferdb/coffer/datastores/couchbase/couchbasetest/cmd/couchbase-double")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	for _, err := range []error{os.Chmod(dir, 0o755), os.Chmod(built, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	p := Programs(dir)
	for _, version := range []string{"7.6", "8.0"} {
		if err := os.Mkdir(p.Dir(version), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"couchbase-server", "cbbackupmgr"} {
			if err := os.Link(built, filepath.Join(p.Dir(version), name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return p
}

// Dir is where the programs of a version are.
func (p Programs) Dir(version string) string { return filepath.Join(string(p), version) }

// Server is the path of a version's server.
func (p Programs) Server(version string) string {
	return filepath.Join(p.Dir(version), "couchbase-server")
}

// Place tells a double that works in dir, its var directory, at which address to listen. A Couchbase Server takes every address of its
// network namespace; doubles of tests share one.
func Place(t testing.TB, dir, address string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, double.AddressFile), []byte(address), 0o644); err != nil {
		t.Fatal(err)
	}
}
