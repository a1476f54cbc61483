package mongodbtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Programs is a directory with the double's programs, of each version in a directory of its own.
type Programs string

// Build builds them. They are gone with the test.
func Build(t testing.TB) Programs {
	t.Helper()
	dir, err := os.MkdirTemp("", "coffer-mongodb") // not t.TempDir: the servers' users must get in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	built := filepath.Join(dir, "double")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", built, "github.com/cofferdb/coffer/datastores/mongodb/mongodbtest/cmd/mongod-double")
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
	for _, version := range []string{"7.0", "8.0"} {
		if err := os.Mkdir(p.Dir(version), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"mongod", "mongodump", "mongorestore"} {
			if err := os.Link(built, filepath.Join(p.Dir(version), name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return p
}

// Dir is where the programs of a version are.
func (p Programs) Dir(version string) string { return filepath.Join(string(p), version) }

// Mongod is the path of a version's server.
func (p Programs) Mongod(version string) string { return filepath.Join(p.Dir(version), "mongod") }
