package service_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores/service"
)

func TestDialerComesFromTheServersAddress(t *testing.T) {
	const address = "127.97.3.2"
	l, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := service.Dialer(address).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if host, _, err := net.SplitHostPort(c.LocalAddr().String()); err != nil || host != address {
		t.Errorf("the connection comes from %s, %v", host, err)
	}
}

func TestDialUnixFarDown(t *testing.T) {
	far := filepath.Join(t.TempDir(), strings.Repeat("x", 200))
	if err := os.Mkdir(far, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(far)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	l, err := net.Listen("unix", fmt.Sprintf("/proc/self/fd/%d/s.sock", dir.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := service.DialUnix(t.Context(), filepath.Join(far, "s.sock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := service.DialUnix(t.Context(), filepath.Join(far, "none.sock")); err == nil || !strings.Contains(err.Error(), "none.sock") {
		t.Errorf("got %v", err)
	}
}
