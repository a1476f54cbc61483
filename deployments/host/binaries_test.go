package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBinaries(t *testing.T) {
	dir := t.TempDir()
	b := &binaries{dir: dir}
	scan := func(want bool, managers, notes string) {
		t.Helper()
		changed, err := b.scan(t.Context())
		if err != nil || changed != want {
			t.Errorf("scan = %v, %v, want %v", changed, err, want)
		}
		_, gotNotes := b.refused()
		if text := strings.Join(b.managers(), " "); text != managers {
			t.Errorf("managers %s, want %s", text, managers)
		}
		if text := strings.Join(gotNotes, "; "); !strings.Contains(text, notes) || notes == "" && text != "" {
			t.Errorf("notes %q, want %q", text, notes)
		}
	}
	script := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		write(t, path, "#!/bin/sh\n"+text+"\n")
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	scan(false, "", "")
	link(t, dir, "a-guest")
	link(t, dir, "something")
	scan(true, "a", "")
	scan(false, "a", "")

	script("b-guest", "echo not json")
	scan(true, "a", "b-guest is not offered: describe printed no manifest")
	scan(false, "a", "b-guest is not offered")
	script("b-guest", `echo '{ "manager": "c" }'`)
	scan(true, "a", `manager "c"`)
	script("b-guest", `echo '{ "manager": "b", "datastores": [] }'`)
	scan(true, "a b", "")

	if os.Geteuid() == 0 { // what describes itself is nobody
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		script("b-guest", `[ $(id -u) = 0 ] || echo '{"manager": "b"}'`)
		scan(true, "a b", "")
		if err := os.Chmod(filepath.Join(dir, "b-guest"), 0o700); err != nil { // as a umask of 077 leaves it
			t.Fatal(err)
		}
		scan(true, "a b", "")
	}

	write(t, filepath.Join(dir, "c-guest"), "not executable")
	scan(true, "a b", "permission denied")
	for _, name := range []string{"a-guest", "b-guest", "c-guest"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	scan(true, "", "")
	if err := os.Remove(filepath.Join(dir, "something")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := b.scan(t.Context()); err == nil {
		t.Error("a directory that is not there is no error")
	}
}

// TestBrokenBinaryIsAskedAgain: it may have been half written when it was first looked at.
func TestBrokenBinaryIsAskedAgain(t *testing.T) {
	dir := t.TempDir()
	link(t, dir, "a-guest")
	b := &binaries{dir: dir}
	if _, err := b.scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	broken := b.known["a"]
	broken.err, broken.asked = os.ErrInvalid, time.Now().Add(-2*describeAgain)
	b.known["a"] = broken
	changed, err := b.scan(t.Context())
	if managers := b.managers(); !changed || err != nil || len(managers) != 1 {
		t.Errorf("scan = %v, %v, managers %s", changed, err, managers)
	}
}
