package volume

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// H4: a server's log grew for as long as its users liked, outside of its volume.
func TestTrim(t *testing.T) {
	dir := t.TempDir()
	d := own(dir)
	log, err := d.Append("log")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	line := strings.Repeat("x", 1000) + "\n"
	say := func(text string) {
		t.Helper()
		if _, err := log.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	size := func() int64 {
		t.Helper()
		if err := d.Trim("log"); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	say(line)
	if n := size(); n != int64(len(line)) {
		t.Errorf("a short log has %d bytes", n)
	}
	say(strings.Repeat(line, mostLog/len(line)))
	say("the last words\n")
	if n := size(); n > keptLog || n < keptLog-int64(len(line)) {
		t.Errorf("%d bytes are kept", n)
	}
	say("and more\n") // the server's file is the same, and its end is where it is now
	b, err := d.Tail("log", 1<<20)
	if err != nil || !bytes.HasPrefix(b, []byte(line)) || !bytes.HasSuffix(b, []byte("x\nthe last words\nand more\n")) {
		t.Errorf("kept are %d bytes, %v: %.20q to %.40q", len(b), err, b, b[max(0, len(b)-40):])
	}
}

// What a tenant puts in place of the log takes nothing from anybody.
func TestALogIsAFile(t *testing.T) {
	dir, victim := t.TempDir(), foreign(t)
	d := own(dir)
	path := filepath.Join(dir, "log")
	if err := os.Symlink(filepath.Join(victim, "shadow"), path); err != nil {
		t.Fatal(err)
	}
	if err := d.Trim("log"); err != nil {
		t.Error(err)
	}
	log, err := d.Append("log")
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintln(log, "words")
	if err != nil || log.Close() != nil || !holds(path, "words\n") || !holds(filepath.Join(victim, "shadow"), "SECRET") {
		t.Errorf("the log went elsewhere, or %v", err)
	}
	if err := d.Trim("missing"); err != nil {
		t.Error(err)
	}
}
