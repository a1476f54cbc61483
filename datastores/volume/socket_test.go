package volume

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// listen serves at a socket, however far down it is.
func listen(t *testing.T, path string) {
	t.Helper()
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	l, err := net.Listen("unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
}

func TestDialFarDown(t *testing.T) {
	far := filepath.Join(t.TempDir(), strings.Repeat("x", 200))
	if err := os.Mkdir(far, 0o700); err != nil {
		t.Fatal(err)
	}
	listen(t, filepath.Join(far, "s.sock"))
	c, err := own(far).Dial(t.Context(), "s.sock")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := own(far).Dial(t.Context(), "none.sock"); err == nil || !strings.Contains(err.Error(), "none.sock") {
		t.Errorf("got %v", err)
	}
}

// C1: the guest of a tenant followed a link to the socket of another's server, which lets the machine's root in.
func TestALinkIsNoSocket(t *testing.T) {
	dir, victim := t.TempDir(), t.TempDir()
	listen(t, filepath.Join(victim, "s.sock"))
	if err := os.Symlink(filepath.Join(victim, "s.sock"), filepath.Join(dir, "s.sock")); err != nil {
		t.Fatal(err)
	}
	if _, err := own(dir).Dial(t.Context(), "s.sock"); err == nil {
		t.Error("a link led to a socket outside")
	}
	write(t, filepath.Join(dir, "file"), "")
	if _, err := own(dir).Dial(t.Context(), "file"); err == nil {
		t.Error("a file is a socket")
	}
}

// C1, too: whatever the name is of, another user's server is not the instance's.
func TestOnlyTheServersUserIsTheServer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: there is one user only")
	}
	const mine, other = 20101, 20102
	dir := filepath.Join(t.TempDir(), "data")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, mine, mine)); err != nil {
		t.Fatal(err)
	}
	for uid, good := range map[int]bool{mine: true, other: false, 0: false} {
		name := fmt.Sprintf("s%d.sock", uid)
		listenAs(t, filepath.Join(dir, name), uid)
		c, err := Dir{dir, mine, mine}.Dial(t.Context(), name)
		if (err == nil) != good {
			t.Errorf("the server of user %d: %v", uid, err)
		}
		if err == nil {
			_ = c.Close()
		}
	}
}

// listenAs has that user listen at a socket.
func listenAs(t *testing.T, path string, uid int) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket := os.NewFile(uintptr(fd), "socket")
	t.Cleanup(func() { _ = socket.Close() })
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	listened := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its new user
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			listened <- errno
			return
		}
		listened <- syscall.Listen(fd, 1)
	}()
	if err := <-listened; err != nil {
		t.Fatal(err)
	}
}
