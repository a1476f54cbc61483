package host

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
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
