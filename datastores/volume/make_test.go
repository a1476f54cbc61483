package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
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

// What is no file is not opened: nobody may ever write into a pipe.
func TestSyncAll(t *testing.T) {
	dir := t.TempDir()
	for i := range 100 {
		write(t, filepath.Join(dir, fmt.Sprint(i%7), fmt.Sprint(i)), "a row")
	}
	if err := errors.Join(syscall.Mkfifo(filepath.Join(dir, "3", "pipe"), 0o600), os.Symlink("/nowhere", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	tree, err := own(dir).Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tree.Close() }()
	if err := tree.SyncAll("."); err != nil {
		t.Error(err)
	}
	if err := tree.SyncAll("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
}
