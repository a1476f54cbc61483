package guest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// newDevice makes a block device of 16 MiB, with begin as its first bytes.
func newDevice(t *testing.T, begin []byte) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a block device")
	}
	datastoretest.Require(t, "/usr/sbin/losetup", "mount")
	datastoretest.Require(t, "/usr/sbin/mkfs.ext4", "e2fsprogs")
	datastoretest.Require(t, "/usr/sbin/blkid", "util-linux")
	file := filepath.Join(t.TempDir(), "disk")
	for _, err := range []error{os.WriteFile(file, begin, 0o600), os.Truncate(file, 16<<20)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("losetup", "-f", "--show", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if err := exec.Command("losetup", "-d", device).Run(); err != nil {
			t.Error(err)
		}
	})
	return device
}

// onDevice is a guest with a device for its volume, which is unmounted when the test ends.
func onDevice(t *testing.T, device string) *bench {
	t.Helper()
	b := newBench(t).beside(t, address, fmt.Sprintf(`{"device_path":%q}`, device))
	t.Cleanup(func() { b.unmount(t) })
	return b
}

func (b *bench) dataDir() string { return b.served.Load().env.DataDir }

func (b *bench) unmount(t *testing.T) {
	t.Helper()
	if err := unix.Unmount(b.dataDir(), 0); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}

func (b *bench) wantMounted(t *testing.T) {
	t.Helper()
	if there, err := mountedAt(b.served.Load().options.DevicePath, b.dataDir()); err != nil || !there {
		t.Errorf("mounted: %v, %v", there, err)
	}
	if info, err := os.Stat(b.dataDir()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data directory: %v, %v", info, err)
	}
}

func TestVolumeIsMadeOnceAndMountedAlways(t *testing.T) {
	b := onDevice(t, newDevice(t, nil)).prepared(t)
	b.wantMounted(t)
	file := filepath.Join(b.dataDir(), "data")
	if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantKept := func() {
		t.Helper()
		if text, err := os.ReadFile(file); err != nil || string(text) != "kept" {
			t.Errorf("%q, %v", text, err)
		}
	}
	b = b.again(t).prepared(t) // mounted already
	wantKept()
	b.unmount(t)
	b = b.again(t).prepared(t) // formatted already
	b.wantMounted(t)
	wantKept()

	b.unmount(t) // the machine restarts
	b.memory.Crash(address)
	b = b.again(t)
	supervised(t, b, func() { b.wantStatus(t, datastores.StatusHealthy) })
	b.wantMounted(t)
	wantKept()

	b = b.again(t)
	b.do(t, command(datastores.MethodStop), nil)
	b.unmount(t)
	supervised(t, b, func() { b.wantStatus(t, datastores.StatusShutdown) })
	b.wantMounted(t)
	b.unmount(t)
	b = b.again(t)
	b.do(t, command(datastores.MethodStart), nil)
	b.wantMounted(t)
}

func TestWhatIsNotBlankIsNeverFormatted(t *testing.T) {
	swap := make([]byte, 64<<10)
	copy(swap[4086:], "SWAPSPACE2")
	swap[1024] = 1
	swap[1028] = 255
	partitions := make([]byte, 512)
	copy(partitions[446:], []byte{0, 0, 2, 0, 0x83, 0, 2, 0, 1, 0, 0, 0, 1, 0, 0, 0})
	copy(partitions[510:], []byte{0x55, 0xaa})
	for name, c := range map[string]struct {
		begin []byte
		says  string
	}{
		"somebody's data":   {[]byte("\x00\x00precious"), "unknown kind"},
		"swap":              {swap, "swap"},
		"a partition table": {partitions, "partition table (dos)"},
	} {
		t.Run(name, func(t *testing.T) {
			device := newDevice(t, c.begin)
			_, err := onDevice(t, device).run(t.Context(), command(datastores.MethodPrepare), nil)
			var e *agentpoll.Error
			if !errors.As(err, &e) || e.Kind != agentpoll.Conflict || !strings.Contains(e.Message, c.says) {
				t.Errorf("prepare = %v", err)
			}
			got, err := os.ReadFile(device)
			if err != nil || !bytes.HasPrefix(got, c.begin) || len(bytes.Trim(got[len(c.begin):], "\x00")) > 0 {
				t.Errorf("the device was written to (%v)", err)
			}
		})
	}
}

func TestFormattingThatWasCutIsDoneAgain(t *testing.T) {
	device := newDevice(t, []byte("\x00\x00half of a filesystem"))
	b := onDevice(t, device)
	if err := b.state.change(func(s *state) { s.Formatting = device }); err != nil {
		t.Fatal(err)
	}
	b = b.again(t).prepared(t)
	b.wantMounted(t)
	if b.again(t).state.get().Formatting != "" {
		t.Error("the device may be formatted again")
	}
}

func TestWrongDevices(t *testing.T) {
	b := newBench(t)
	for path, says := range map[string]string{"/dev/null": "not a block device", "/dev/coffer-has-none": "no such device"} {
		other := b.beside(t, address, fmt.Sprintf(`{"device_path":%q}`, path))
		if _, err := other.run(t.Context(), command(datastores.MethodPrepare), nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestServerDoesNotStartWithoutItsVolume: an empty directory in place of the data would be taken for a new server's.
func TestServerDoesNotStartWithoutItsVolume(t *testing.T) {
	b := onDevice(t, newDevice(t, nil))
	if err := errors.Join(os.MkdirAll(b.dataDir(), 0o700), b.state.change(func(s *state) { s.Phase, s.Running = phasePrepared, true })); err != nil {
		t.Fatal(err)
	}
	if _, err := b.run(t.Context(), command(datastores.MethodStart), nil); err == nil || !strings.Contains(err.Error(), "no filesystem") {
		t.Errorf("start = %v", err)
	}
	b.revive(t.Context())
	if st := b.observe(t.Context()); st.Service != datastores.StatusCrashed || !strings.Contains(st.Message, "no filesystem") {
		t.Errorf("status = %+v", st)
	}
	if b.memory.Starts(address) > 0 {
		t.Error("the server was started")
	}
}

func TestSomethingElseIsMountedThere(t *testing.T) {
	b := onDevice(t, newDevice(t, nil))
	if err := errors.Join(os.MkdirAll(b.dataDir(), 0o700), unix.Mount("none", b.dataDir(), "tmpfs", 0, "size=1m")); err != nil {
		t.Fatal(err)
	}
	prepare := command(datastores.MethodPrepare)
	prepare.Deadline = time.Now().Add(time.Minute)
	b.refused(t, prepare, nil, agentpoll.Conflict)
}
