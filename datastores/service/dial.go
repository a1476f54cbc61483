package service

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// Dialer makes connections from address, a server's own, [datastores.Env].Address. So a guest reaches a port that is not open
// to anybody else: a host's firewall always lets a server reach itself. A server's ports on it need authentication all the
// same where they can have it, for other programs of the host may use the address, too.
func Dialer(address string) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
}

// DialUnix connects to a server's socket however long its path is: the 107 bytes that the kernel takes (unix(7)) are
// soon used up below the directory of an instance. The server must be told a path relative to its working directory,
// for the same reason. ctx limits the connecting only.
func DialUnix(ctx context.Context, path string) (net.Conn, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the socket: %w", err)
	}
	defer dir.Close()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the socket %s: %w", path, err)
	}
	return conn, nil
}
