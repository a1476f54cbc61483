package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/deployments/host/sandbox"
)

// TestGuestThatDoesNotStay: a guest that describes itself well and then ends is replaced by the former one, and not tried again, also
// by a host that is started anew; a good one that follows is taken. The database notices nothing.
func TestGuestThatDoesNotStay(t *testing.T) {
	needRoot(t)
	h := newSandboxHost(t)
	inst, _ := launch(t, h, boxRequest(h, 0))
	servers := func() []int { return processesOf(inst.uid) }
	database := boxDatabase(t, inst)
	look := func(h *Host) {
		t.Helper()
		if _, err := h.binaries.scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.each(t.Context(), h.look)
	}
	guests := func() []int { return h.sandboxes.sandbox(inst).Guests() }
	runs := func() string {
		target, _ := os.Readlink(filepath.Join(inst.path("sandbox"), "etc", "fake-guest"))
		return strings.TrimPrefix(target, sandbox.GuestsPath+"/")
	}
	good := runs()
	replaceGuest(t, h, "#!/bin/sh\n[ $1 != describe ] || exec echo '{\"manager\":\"fake\"}'\nexit 1\n")
	eventually(t, "the bad one is tried", func() bool { look(h); return runs() != good })
	bad := runs()
	eventually(t, "the former one is back", func() bool { look(h); return runs() == good && len(guests()) == 1 })
	pid := guests()[0]
	for range 5 {
		look(h)
	}
	next := again(t, h)
	look(next)
	next.each(t.Context(), next.recover)
	look(next)
	inst = next.find(inst.id)
	if now := guests(); len(now) != 1 || now[0] != pid || runs() != good || inst.rec.Refused != bad {
		t.Errorf("guests %v, want %d; it runs %s; refused is %q", now, pid, runs(), inst.rec.Refused)
	}
	if notes := strings.Join(next.notes(), "; "); !strings.Contains(notes, "did not stay in 1 instances") {
		t.Errorf("the host's notes are %q", notes)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	replaceGuest(t, h, read(t, self)+"another digest")
	eventually(t, "the good one is taken", func() bool {
		look(next)
		now := guests()
		return runs() != good && runs() != bad && len(now) == 1 && now[0] != pid
	})
	if now := servers(); len(now) != 1 || now[0] != database {
		t.Errorf("the database was %d and is %v", database, now)
	}
}
