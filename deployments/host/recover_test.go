package host

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cofferdb/coffer/deployments"
)

func TestGuestIsStartedAgain(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	inst, _ := launch(t, h, request(0))
	db, first := database(t, inst), guestPID(inst)
	supervised(t, h)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another guest runs", func() bool { pid := guestPID(inst); return pid != 0 && pid != first })
	if got := database(t, inst); got != db {
		t.Errorf("the database was %d and is %d", db, got)
	}
}

func TestGuestsOutliveTheHost(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	inst, _ := launch(t, h, request(0))
	guest, db := guestPID(inst), database(t, inst)

	next := again(t, h)
	known := next.find(inst.id)
	if known == nil || known.uid != inst.uid || known.address != inst.address {
		t.Fatalf("the next host knows %+v", known)
	}
	next.each(t.Context(), next.recover)
	if guestPID(known) != guest || database(t, known) != db {
		t.Error("the next host started what ran already")
	}
	remove(t, next, inst.id)
	h.forget(inst)
}

// TestReboot ends everything but the files.
func TestReboot(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	inst, _ := launch(t, h, request(0))
	mark := filepath.Join(inst.mountPoint(), "mark")
	write(t, mark, "still here")
	first := database(t, inst)
	if err := inst.guest.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.killDatabase(t.Context(), inst); err != nil {
		t.Fatal(err)
	}
	if err := unmount(inst.mountPoint()); err != nil {
		t.Fatal(err)
	}
	if err := h.cgroups.remove(inst.name()); err != nil {
		t.Fatal(err)
	}
	if err := h.firewall.remove(inst.id, inst.address); err != nil {
		t.Fatal(err)
	}

	next := again(t, h)
	supervised(t, next)
	known := next.find(inst.id)
	eventually(t, "the database runs again", func() bool { return guestPID(known) != 0 && database(t, known) != first })
	if got := read(t, mark); got != "still here" {
		t.Errorf("the volume holds %q", got)
	}
	if !chains(t, next.firewall.table)[inst.id] {
		t.Error("no firewall rules")
	}
	if got := next.cgroups.processes(inst.name()); len(got) == 0 {
		t.Error("the database is not limited")
	}
}

// TestVolumeThatIsGone: a database must never be started on an empty directory where its volume should be.
func TestVolumeThatIsGone(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	inst, _ := launch(t, h, request(0))
	database(t, inst)
	if err := inst.guest.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.killDatabase(t.Context(), inst); err != nil {
		t.Fatal(err)
	}
	if err := unmount(inst.mountPoint()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(inst.path(volumeImage)); err != nil {
		t.Fatal(err)
	}
	if err := h.recover(t.Context(), inst); err == nil {
		t.Error("no error")
	}
	if guestPID(inst) != 0 {
		t.Error("the guest runs")
	}
	if !inst.restarts.Due().After(time.Now()) {
		t.Error("the next attempt is not put off")
	}
}

// TestRemoveCutHalfWay: what a remove leaves when its host is killed is neither started again nor forgotten.
func TestRemoveCutHalfWay(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	args := request(0)
	inst, _ := launch(t, h, args)
	database(t, inst)
	inst.rec.Removing = true
	if err := inst.save(); err != nil {
		t.Fatal(err)
	}
	if err := inst.guest.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}

	next := again(t, h)
	known := next.find(inst.id)
	next.each(t.Context(), next.recover)
	next.each(t.Context(), next.look)
	if guestPID(known) != 0 {
		t.Error("the guest runs again")
	}
	_, err := next.Launch(t.Context(), args)
	wantKind(t, "launch of what is being removed", err, "conflict")
	remove(t, next, inst.id)
	h.forget(inst)

	// Cut right before its last step.
	if err := os.Mkdir(inst.dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := again(t, h).Remove(t.Context(), deployments.RemoveArgs{InstanceID: inst.id}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(inst.dir); err == nil {
		t.Error("the empty directory is left")
	}
}

func TestUnreadableStateHarmsNobodyElse(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	inst, _ := launch(t, h, request(0))
	bad := request(1).InstanceID
	write(t, filepath.Join(h.dir(bad), stateFile), "{")
	next := again(t, h)
	if next.find(inst.id) == nil || next.find(bad) != nil {
		t.Error("the good one must be known, the bad one not")
	}
	if err := next.Remove(t.Context(), deployments.RemoveArgs{InstanceID: bad}); err == nil {
		t.Error("an instance that cannot be read was removed")
	}
}
