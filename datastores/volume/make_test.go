package volume

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestMakeThatFails leaves nothing behind: what was half made may be most of the volume.
func TestMakeThatFails(t *testing.T) {
	dir, cut := t.TempDir(), errors.New("cut")
	err := own(dir).Make("data", func(made *Tree) error {
		write(t, filepath.Join(made.Path("."), "half"), "x")
		return cut
	})
	if left, _ := os.ReadDir(dir); !errors.Is(err, cut) || len(left) > 0 {
		t.Errorf("%v, left %v", err, left)
	}
}

// TestDiscard takes a directory away, and what an earlier try has left of one when it is made anew.
func TestDiscard(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "data/a/b"), "old")
	write(t, filepath.Join(dir, "data.making-KILLED/a"), "half gone")
	for range 2 {
		if err := own(dir).Discard("data"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("the directory is still there")
	}
	if err := own(dir).Make("data", func(*Tree) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}
