package datastoretest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// BuildDouble builds a program of tests that stands in for those of a server which cannot be had, and links it by each of their names into a
// directory of each version. It returns the directory of these, which servers' users may read and which is gone with the test.
func BuildDouble(t testing.TB, program string, versions, names []string) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "coffer-"+filepath.Base(program)) // not t.TempDir: the servers' users must get in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	built := filepath.Join(dir, "double")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", built, program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	for _, err := range []error{os.Chmod(dir, 0o755), os.Chmod(built, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, version := range versions {
		if err := os.Mkdir(filepath.Join(dir, version), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if err := os.Link(built, filepath.Join(dir, version, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}
