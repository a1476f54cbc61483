package guest

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNearlyFull: the warning begins and ends at different fillings, and is about the instance's own volume only.
func TestNearlyFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root mounts a small file system")
	}
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1000k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	within := filepath.Join(dir, "within")
	if err := os.Mkdir(within, 0o700); err != nil {
		t.Fatal(err)
	}
	own, shared := &space{path: dir}, &space{path: within}
	for _, step := range []struct {
		usedKB int
		warns  bool
	}{{0, false}, {880, false}, {920, true}, {880, true}, {840, false}, {880, false}, {980, true}} {
		if err := os.WriteFile(filepath.Join(dir, "data"), make([]byte, step.usedKB<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := own.warning(); got != map[bool]string{true: nearlyFull}[step.warns] {
			t.Errorf("with %d KB of 1000: %q", step.usedKB, got)
		}
		if got := shared.warning(); got != "" {
			t.Errorf("of a filesystem that is not its own: %q", got)
		}
	}
}
