package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// longestSocket is how many bytes the path of a unix socket may have: sockaddr_un has 108, one of them is the end.
const longestSocket = len(unix.RawSockaddrUnix{}.Path) - 1

// place makes the directory of the socket and returns the socket's absolute path. It fails when others can get into that
// directory: this etcd asks nobody for a password.
func place(cfg Config) (string, error) {
	socket := cfg.Socket
	if socket == "" {
		socket = filepath.Join(cfg.Dir, "client.sock")
	}
	socket, err := filepath.Abs(socket)
	if err != nil {
		return "", err
	}
	if n := len(socket); n > longestSocket {
		return "", fmt.Errorf("the path of etcd's socket has %d bytes, and a socket's may have %d: choose a shorter one than %s", n, longestSocket, socket)
	}
	dir := filepath.Dir(socket)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("cannot make the directory of etcd's socket: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", fmt.Errorf("cannot look at the directory of etcd's socket: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("others can get into the directory of etcd's socket: chmod 700 %s, or choose another directory", dir)
	}
	return socket, nil
}

// lockDir makes the directory and takes it for this process. (etcd itself would wait for ever for another that has it.)
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make etcd's directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock etcd's directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot lock %s (does another gateway use it?): %w", dir, err), f.Close())
	}
	return f, nil
}
