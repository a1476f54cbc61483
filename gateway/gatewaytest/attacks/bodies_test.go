package attacks

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
	"github.com/cofferdb/coffer/gateway/identity"
)

// withIdentity lets a gateway serve the identity service, as a program does.
func withIdentity(t *testing.T, store *etcdschema.Store) gatewaytest.Option {
	t.Helper()
	service, err := identity.New(identity.Config{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	return func(c *gateway.Config) { c.IdentityService = service.Handler() }
}

// TestH10SlowBodiesHoldTheGateway sends bodies that never end, before any login and with one, and looks for the gateway to
// be rid of each connection in the time that it gives.
func TestH10SlowBodiesHoldTheGateway(t *testing.T) {
	store := etcdtest.New(t)
	g := gatewaytest.Start(t, store, gatewaytest.Limited("body_seconds=1"), withIdentity(t, store))
	for name, head := range map[string]string{
		"login":           "POST /identity/v3/auth/tokens",
		"create":          "POST /v1.0/p1/instances",
		"body of a GET":   "GET /v1.0/p1/instances",
		"body of nothing": "POST /v1.0/p1/nothing",
		"poll":            "POST /agent/v1/poll",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %s\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", head, gatewaytest.Member)
			if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(bufio.NewReader(conn)) // to the end of the connection
			if err != nil {
				t.Fatalf("the connection is still open, after %q: %v", answer, err)
			}
			if name == "login" && !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
				t.Errorf("answered %q", answer)
			}
		})
	}
}

// TestH10ConnectionsOfOneAddress opens connections until the gateway closes them at once, and looks that others get in.
func TestH10ConnectionsOfOneAddress(t *testing.T) {
	g := gatewaytest.Start(t, etcdtest.New(t), gatewaytest.Limited("address_connections=8"))
	var open []net.Conn
	for range 8 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		open = append(open, conn)
	}
	ask := func() (*http.Response, error) {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
		return client.Get(g.URL + "/healthz")
	}
	if resp, err := ask(); err == nil {
		resp.Body.Close()
		t.Fatal("a ninth connection was served")
	}
	elsewhere := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}).DialContext}}
	resp, err := elsewhere.Get(g.URL + "/healthz")
	if err != nil {
		t.Fatalf("another address is kept out: %v", err)
	}
	resp.Body.Close()
	if !strings.Contains(g.Metrics(t), `coffer_refused_total{limit="address_connections"} 1`) {
		t.Error("the refusal was not counted")
	}
	elsewhere.CloseIdleConnections()
	for _, conn := range open {
		conn.Close()
	}
	awaitTrue(t, "a place", func() bool {
		resp, err := ask()
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
}
