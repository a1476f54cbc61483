package blobstoretest

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

// Small is a directory with room for so many KB, until the test ends.
func Small(t testing.TB, sizeKB int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	SmallAt(t, dir, sizeKB)
	return dir
}

// SmallAt leaves a directory that is there room for so many KB, until the test ends.
func SmallAt(t testing.TB, dir string, sizeKB int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root mounts a small file system")
	}
	if err := syscall.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%dk", sizeKB)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}

// Grow makes a Small directory larger.
func Grow(t testing.TB, dir string, sizeKB int) {
	t.Helper()
	if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%dk", sizeKB)); err != nil {
		t.Fatal(err)
	}
}
