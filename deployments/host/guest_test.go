package host

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRestarts(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var r restarts
	if !r.due(now) {
		t.Fatal("the first start is not due")
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		r.started(now)
		if delay := want * time.Second; r.due(now.Add(delay-1)) || !r.due(now.Add(delay)) {
			t.Errorf("start %d is not due after exactly %v", r.inARow+1, delay)
		}
		now = now.Add(want * time.Second)
	}
	now = now.Add(time.Hour)
	r.started(now)
	if !r.due(now.Add(time.Second)) {
		t.Error("an hour of peace did not start the count again")
	}
}

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
