package host

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/deployments"
)

// guestFile writes a guest binary that describes itself, and returns its digest.
func guestFile(t *testing.T, dir, words string) (path, digest string) {
	t.Helper()
	path = filepath.Join(dir, "memory-guest")
	text := "#!/bin/sh\necho '{\"manager\":\"memory\",\"words\":\"" + words + "\"}'\n"
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(text))
	return path, hex.EncodeToString(sum[:])
}

// TestM5BinariesThatOthersMayWrite puts guest binaries where others than root could have put them.
func TestM5BinariesThatOthersMayWrite(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root gives files away")
	}
	for name, spoil := range map[string]func(dir, path string) error{
		"the file is writable":             func(_, path string) error { return os.Chmod(path, 0o777) },
		"the file is another's":            func(_, path string) error { return os.Chown(path, 20101, 0) },
		"the directory is writable":        func(dir, _ string) error { return os.Chmod(dir, 0o775) },
		"the directory above is another's": func(dir, _ string) error { return os.Chown(filepath.Dir(dir), 20101, 0) },
		"a link into another's directory": func(dir, path string) error {
			other := filepath.Join(t.TempDir(), "memory-guest")
			if err := os.Rename(path, other); err != nil {
				return err
			}
			if err := os.Chmod(filepath.Dir(other), 0o777); err != nil {
				return err
			}
			return os.Symlink(other, path)
		},
	} {
		dir := filepath.Join(t.TempDir(), "guests")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		path, _ := guestFile(t, dir, "good")
		b := &binaries{dir: dir}
		if _, err := b.scan(t.Context()); err != nil || b.mayStart("memory") != nil {
			t.Fatalf("%s: before: %v, %v", name, err, b.mayStart("memory"))
		}
		if err := spoil(dir, path); err != nil {
			t.Fatal(err)
		}
		fresh := &binaries{dir: dir}
		if _, err := fresh.scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		managers := fresh.managers()
		_, notes := fresh.refused()
		if len(managers) > 0 || len(notes) != 1 || fresh.mayStart("memory") == nil {
			t.Errorf("%s: offered %v, notes %q", name, managers, notes)
		}
		kept := store{dir: filepath.Join(t.TempDir(), "store")}
		if _, err := kept.keep(path); err == nil {
			t.Errorf("%s: a sandbox would run it", name)
		}
	}
}

// TestM5UnsignedBinaries replaces a signed binary in place with an unsigned one, one with another's signature, and a good one: sandboxes go
// on with the former until the good one is there.
func TestM5UnsignedBinaries(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	kept := store{dir: filepath.Join(t.TempDir(), "store"), trust: trust{[]ed25519.PublicKey{public}}}
	first := ""
	for _, c := range []struct {
		words string
		key   ed25519.PrivateKey // nil: the signature is the former one's
		good  bool
	}{{"first", private, true}, {"unsigned", nil, false}, {"a stranger's", stranger, false}, {"second", private, true}} {
		path, digest := guestFile(t, dir, c.words)
		if c.key != nil {
			if err := os.WriteFile(path+deployments.SignatureSuffix, []byte(deployments.SignGuest(c.key, "memory", digest)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b := &binaries{dir: dir, trust: kept.trust}
		if _, err := b.scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		if good := b.mayStart("memory") == nil; good != c.good || c.good && b.digests()["memory"] != digest {
			t.Errorf("%s: offered %t, digests %v", c.words, good, b.digests())
		}
		name, err := kept.keep(path)
		want := digest
		if !c.good {
			want = first
		}
		if err != nil || !strings.HasPrefix(name, want) {
			t.Errorf("%s: a sandbox would run %s, %v; want %s", c.words, name, err, want)
		}
		first = want
	}
	if err := deployments.VerifyGuest(kept.trust.keys, "redis", first, deployments.SignGuest(private, "memory", first)); err == nil {
		t.Error("a signature is good for another manager")
	}
}
