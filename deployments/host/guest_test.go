package host

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestBoundLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), logFile)
	bound := func(want, before int) {
		t.Helper()
		if err := boundLog(path); err != nil {
			t.Fatal(err)
		}
		if got := len(read(t, path)); got != want {
			t.Errorf("the log has %d bytes, want %d", got, want)
		}
		if before > 0 && len(read(t, path+".1")) != before {
			t.Errorf("the part before has %d bytes, want %d", len(read(t, path+".1")), before)
		}
	}
	if err := boundLog(path); err != nil {
		t.Error("no log yet:", err)
	}
	write(t, path, strings.Repeat("x", maxLog))
	bound(maxLog, 0)
	write(t, path, strings.Repeat("x", maxLog+1))
	bound(0, maxLog+1)
	write(t, path, "new")
	bound(3, maxLog+1)
}
