package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// loopback splits addr, and fails when anybody but this machine could reach it: this etcd asks nobody for a password.
func loopback(addr string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(addr)
	if err != nil {
		return "", "", fmt.Errorf("etcd's client address %q: want host:port such as 127.0.0.1:2379: %w", addr, err)
	}
	if host == "localhost" {
		return "127.0.0.1", port, nil
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return "", "", fmt.Errorf("etcd's client address %q: the embedded etcd serves this machine only; want 127.0.0.1, "+
			"another loopback address, or an etcd of its own", addr)
	}
	return host, port, nil
}

// freeAddr picks a free port. Somebody may take it before etcd does; then another one is tried.
func freeAddr(ctx context.Context, addr string) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
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
