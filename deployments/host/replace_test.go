package host

import (
	"os"
	"path/filepath"
	"testing"
)

// TestGuestBinaryIsReplaced puts a new binary in the place of one that two guests run: each guest is started anew, neither
// database is touched. What does not describe itself replaces nothing.
func TestGuestBinaryIsReplaced(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	one, _ := launch(t, h, request(0))
	two, _ := launch(t, h, request(1))
	both := []*instance{one, two}
	look := func() {
		t.Helper()
		if _, err := h.binaries.scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.each(t.Context(), h.look)
	}
	state := func() (guests, databases []int) {
		for _, inst := range both {
			guests, databases = append(guests, guestPID(inst)), append(databases, database(t, inst))
		}
		return guests, databases
	}

	guests, databases := state()
	look()
	if now, _ := state(); now[0] != guests[0] || now[1] != guests[1] {
		t.Errorf("guests %v became %v for nothing", guests, now)
	}
	replaceGuest(t, h, "no program")
	look()
	if now, _ := state(); now[0] != guests[0] || now[1] != guests[1] {
		t.Errorf("guests %v became %v for a file that is no guest", guests, now)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	replaceGuest(t, h, read(t, self))
	look()
	now, same := state()
	for i := range both {
		if now[i] == guests[i] || now[i] == 0 || same[i] != databases[i] {
			t.Errorf("instance %d: guest %d became %d, database %d became %d", i, guests[i], now[i], databases[i], same[i])
		}
	}
	// A host that is started anew knows which file its guests were started from.
	next := again(t, h)
	if _, err := next.binaries.scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	next.each(t.Context(), next.recover)
	next.each(t.Context(), next.look)
	if again, _ := state(); again[0] != now[0] || again[1] != now[1] {
		t.Errorf("guests %v became %v after the host was started anew", now, again)
	}
}

// replaceGuest puts another binary in the place of fake-guest, in one step.
func replaceGuest(t *testing.T, h *Host, text string) {
	t.Helper()
	path := filepath.Join(h.cfg.Guests, "fake-guest")
	write(t, path+".new", text)
	if err := os.Chmod(path+".new", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
