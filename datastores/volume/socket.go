package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// oPath opens a name without what is behind it (open(2)).
const oPath = 0x200000

// Dial connects to the unix socket that has the name, when it is one that a process of the directory's user listens at: a link to
// another's socket, or one that was moved there, is an error. The path may be of any length: the 107 bytes that the kernel takes
// (unix(7)) are soon used up below the directory of an instance. A server must be told a path relative to its working
// directory, for the same reason. ctx limits the connecting only.
func (d Dir) Dial(ctx context.Context, name string) (net.Conn, error) {
	conn, err := d.dial(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the socket %s: %w", name, err)
	}
	return conn, nil
}

func (d Dir) dial(ctx context.Context, name string) (net.Conn, error) {
	socket, err := d.openSocket(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = socket.Close() }()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", socket.Fd()))
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) { // without the path, which is nobody's
			err = op.Err
		}
		return nil, err
	}
	if err := d.checkPeer(conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (d Dir) openSocket(name string) (socket *os.File, err error) {
	err = d.with(func(t *Tree) error {
		if socket, err = t.root.OpenFile(name, oPath|syscall.O_NOFOLLOW, 0); err != nil {
			return err
		}
		info, err := socket.Stat()
		if err == nil && info.Mode().Type() != fs.ModeSocket {
			err = errors.New("it is no socket")
		}
		if err != nil {
			return errors.Join(err, socket.Close())
		}
		return nil
	})
	return socket, err
}

// checkPeer refuses a server of another user than the directory's.
func (d Dir) checkPeer(conn net.Conn) error {
	want := d.UID
	if want < 0 {
		want = os.Geteuid()
	}
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return err
	}
	var peer *syscall.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		peer, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, credErr); err != nil {
		return err
	}
	if int(peer.Uid) != want {
		return fmt.Errorf("user %d listens there, and not %d: it is not this instance's server", peer.Uid, want)
	}
	return nil
}
