package volume

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// own is a directory of the test's own.
func own(dir string) Dir { return Dir{Path: dir, UID: -1, GID: -1} }

func open(t *testing.T, dir string) *Tree {
	t.Helper()
	tree, err := own(dir).Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	return tree
}

func holds(path, text string) bool {
	b, err := os.ReadFile(path)
	return err == nil && string(b) == text
}

func TestMake(t *testing.T) {
	dir := t.TempDir()
	cut := errors.New("cut")
	err := own(dir).Make("data", func(tree *Tree) error {
		write(t, tree.Path("half"), "x")
		return cut
	})
	if _, there := os.Stat(filepath.Join(dir, "data")); !errors.Is(err, cut) || there == nil {
		t.Fatalf("half of a tree has its name, or %v", err)
	}
	calls := 0
	for range 2 {
		err := own(dir).Make("data", func(tree *Tree) error {
			calls++
			write(t, tree.Path("a/b"), "whole")
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || calls != 1 || !holds(filepath.Join(dir, "data/a/b"), "whole") {
		t.Errorf("filled %d times, left %v, %v", calls, entries, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "data/half")); err == nil {
		t.Error("what an earlier try made is in the tree")
	}
}

func TestTar(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	write(t, filepath.Join(from, "a/b"), "content")
	write(t, filepath.Join(from, "empty"), "")
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, "SECRET")
	if err := os.Symlink(secret, filepath.Join(from, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(from, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := open(t, from).WriteTar(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(archive.Bytes(), []byte("SECRET")) {
		t.Error("a link was followed")
	}
	if err := open(t, to).ReadTar(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	if !holds(filepath.Join(to, "a/b"), "content") || !holds(filepath.Join(to, "empty"), "") {
		t.Error("the files have not come back")
	}
}

func TestReadTarStaysInside(t *testing.T) {
	for name, header := range map[string]tar.Header{
		"up":       {Typeflag: tar.TypeReg, Name: "../out"},
		"absolute": {Typeflag: tar.TypeReg, Name: "/tmp/out"},
		"link":     {Typeflag: tar.TypeSymlink, Name: "link", Linkname: "/etc/passwd"},
		"device":   {Typeflag: tar.TypeChar, Name: "null"},
	} {
		var archive bytes.Buffer
		w := tar.NewWriter(&archive)
		if err := w.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		err := open(t, dir).ReadTar(t.Context(), &archive)
		var told *datastores.Error
		if !errors.As(err, &told) || told.Kind != datastores.Invalid {
			t.Errorf("%s: %v", name, err)
		}
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			t.Errorf("%s: %v was made", name, entries)
		}
	}
}

func TestCopyTar(t *testing.T) {
	from := t.TempDir()
	write(t, filepath.Join(from, "a/b"), "content")
	write(t, filepath.Join(from, "c"), string(make([]byte, 600)))
	var one, all bytes.Buffer
	if err := open(t, from).WriteTar(t.Context(), &one); err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(&all)
	for _, prefix := range []string{"first/", "second/"} {
		if err := CopyTar(t.Context(), w, prefix, bytes.NewReader(one.Bytes())); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if err := open(t, to).ReadTar(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	if !holds(filepath.Join(to, "first/a/b"), "content") || !holds(filepath.Join(to, "second/c"), string(make([]byte, 600))) {
		t.Error("the files have not come over")
	}
	for end := range one.Len() - tarEnd + 1 { // wherever it is cut, between two files too
		if err := CopyTar(t.Context(), tar.NewWriter(io.Discard), "", bytes.NewReader(one.Bytes()[:end])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut after %d of %d bytes: %v", end, one.Len(), err)
		}
	}
}

func TestTarEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := open(t, dir).WriteTar(ctx, &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
		t.Errorf("write: %v", err)
	}
}
