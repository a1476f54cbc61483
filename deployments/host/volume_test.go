package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/deployments"
)

func TestVolumeIsFull(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	inst, _ := launch(t, h, request(0))
	f, err := os.Create(filepath.Join(inst.mountPoint(), "big"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, 1<<30); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("1 GiB on a volume of 1 GiB: %v, want %v", err, syscall.ENOSPC)
	}
}

// TestUnmountBusy: a file that somebody outside the instance holds open must not keep a volume alive for ever.
func TestUnmountBusy(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	inst, _ := launch(t, h, request(0))
	f, err := os.Create(filepath.Join(inst.mountPoint(), "held"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unmount(inst.mountPoint()); err != nil {
		t.Error(err)
	}
	if mounted, err := isMounted(inst.mountPoint()); mounted || err != nil {
		t.Errorf("mounted: %v, %v", mounted, err)
	}
	_ = f.Close()
}

func TestMountImageFails(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	write(t, image, "no filesystem")
	if err := mountImage(t.Context(), image, dir); err == nil {
		t.Error("no error")
	}
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range files {
		if b, err := os.ReadFile(file); err == nil && string(b) == image+"\n" {
			t.Errorf("%s holds the image still", file)
		}
	}
}

func TestMountPoints(t *testing.T) {
	got := mountPoints("27 1 254:0 / / rw - ext4 /dev/vda rw\n28 27 7:0 / /a\\040b\\134c rw shared:1 - ext4 /dev/loop0 rw\nshort\n")
	if diff := cmp.Diff([]string{"/", `/a b\c`}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestM3DiskIsPromisedOnce fills a host's disk beside an instance, which then fills what it was sold, and asks for another volume that
// the disk has no room for.
func TestM3DiskIsPromisedOnce(t *testing.T) {
	needRoot(t)
	image, dir := filepath.Join(t.TempDir(), "disk"), t.TempDir()
	if err := errors.Join(makeImage(t.Context(), image, 2), mountImage(t.Context(), image, dir)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	})
	h := newHostIn(t, dir)
	promises := func(want int) {
		t.Helper()
		if got := h.capacity().DiskGB; got != want {
			t.Errorf("it promises %d GB of a disk of 2 GB, want %d", got, want)
		}
	}
	promises(1)
	inst, _ := launch(t, h, request(0))
	promises(1)
	_, err := h.Launch(t.Context(), request(1))
	if failure, is := errors.AsType[*agentpoll.Error](err); !is || failure.Kind != agentpoll.Full {
		t.Errorf("a second volume of 1 GB: %v", err)
	}
	if err := growMounted(t.Context(), inst.path(volumeImage), inst.mountPoint(), 2); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("it grows to 2 GB: %v", err)
	}
	if err := fill(filepath.Join(dir, "junk")); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	full := filepath.Join(inst.mountPoint(), "full")
	if err := fill(full); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("an instance that fills its volume beside a full disk: %v, want %v", err, syscall.ENOSPC)
	}
	if info, err := os.Stat(full); err != nil || info.Size() < 900<<20 {
		t.Errorf("it has got %v of 1 GB, %v", info, err)
	}
	for n := 0; n < 10_000; n++ { // to the last block
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("crumb-", n)), []byte("x"), 0o600); err != nil {
			break
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "more"), []byte("x"), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	if err := h.Remove(t.Context(), deployments.RemoveArgs{InstanceID: inst.id}); err != nil {
		t.Errorf("an instance on a full disk cannot be removed: %v", err)
	}
	if _, err := h.Launch(t.Context(), request(0)); err == nil {
		t.Error("a launch that comes after the remove brings it back")
	}
}

// fill writes a file until there is no room, and returns the error that said so, or that of writing to the disk what was taken.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for block := make([]byte, 4<<20); err == nil; {
		_, err = f.Write(block)
	}
	if failed := f.Sync(); failed != nil {
		return failed
	}
	return err
}
