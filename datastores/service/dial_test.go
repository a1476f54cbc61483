package service_test

import (
	"net"
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
