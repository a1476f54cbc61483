package blobstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func openDir(t *testing.T, dir string) *Dir {
	t.Helper()
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "for", "it")
	suite(t, openDir(t, dir))
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, incoming)); err != nil || len(left) > 0 {
		t.Errorf("%d files are left in %s: %v", len(left), incoming, err)
	}
}

// A directory that is known to be there may have been removed by another gateway.
func TestDirMakesARemovedDirectoryAgain(t *testing.T) {
	dir := t.TempDir()
	d := openDir(t, dir)
	for range 3 {
		body := []byte("a segment")
		sum := sha256.Sum256(body)
		if err := d.Put(t.Context(), "backups/p/b/1", int64(len(body)), hex.EncodeToString(sum[:]), bytes.NewReader(body)); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "backups")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDirIsNotLeftByALink(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	d := openDir(t, dir)
	if err := os.WriteFile(filepath.Join(outside, "1"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if body, err := get(d, "link/1"); err == nil {
		t.Errorf("read %q", body)
	}
	if err := put(d, "link/2", []byte("x")); err == nil {
		t.Error("wrote outside")
	}
	if err := d.DeleteAll(t.Context(), "link"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(outside, "1")); err != nil {
		t.Error(err)
	}
}

func TestDirForgetsWhatAKilledGatewayLeft(t *testing.T) {
	dir := t.TempDir()
	openDir(t, dir)
	old, fresh := filepath.Join(dir, incoming, "old"), filepath.Join(dir, incoming, "fresh")
	for _, path := range []string{old, fresh} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-2 * leftAfter)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	openDir(t, dir)
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old one: %v", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("the one that is being written: %v", err)
	}
}
