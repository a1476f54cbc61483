// Package gatewaytest runs real gateways for tests: in process, over a real etcd, on loopback, with static tokens; and
// hosts whose guests keep their databases in memory, so that whole lives take milliseconds.
package gatewaytest

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/blobstore"
	"github.com/cofferdb/coffer/gateway/identity"
	"github.com/cofferdb/coffer/gateway/keyring"
	"github.com/cofferdb/coffer/gateway/limits"
)

// The tokens that every gateway of this package takes, and the project that all but Other are of.
const (
	Project = "p1"
	Admin   = "token-of-an-admin-0123456789abcdef"
	Member  = "token-of-a-member-0123456789abcdef"
	Reader  = "token-of-a-reader-0123456789abcdef"
	Other   = "token-of-a-member-of-p2-0123456789"
)

// Gateway is a running gateway.
type Gateway struct {
	*gateway.Gateway
	URL  string
	addr string
	srv  *http.Server
	done bool
}

// Option changes a gateway's configuration.
type Option func(*gateway.Config)

// Hold sets how long polls are held.
func Hold(d time.Duration) Option { return func(c *gateway.Config) { c.Hold = d } }

// Limited sets the limits to those of the table, with settings as -limit takes them. Without it nothing but enrolments has a rate.
func Limited(settings ...string) Option {
	return func(c *gateway.Config) { c.Limits = limitsOf(settings...) }
}

// Unlimited takes the named limits away, beside the rates.
func Unlimited(names ...string) Option {
	settings := noRates()
	for _, name := range names {
		settings = append(settings, name+"=-1")
	}
	return Limited(settings...)
}

func limitsOf(settings ...string) *limits.Limits {
	l, err := limits.New(settings...)
	if err != nil {
		panic(err) // a mistake in a test
	}
	return l
}

// noRates are settings without a limit of what may be asked in a time: tests ask as fast as they can.
func noRates() (settings []string) {
	for _, row := range limits.Table() {
		if row.Fault == "429" && row.Set != "" && row.Name != "enrol" {
			settings = append(settings, row.Name+"=-1")
		}
	}
	return settings
}

// Logs sends the gateway's log to w.
func Logs(w io.Writer) Option {
	return func(c *gateway.Config) {
		c.Log = slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
}

// Keys is the key file's text of all gateways of this package.
const Keys = "test AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"

// Start runs a gateway on store until the test ends.
func Start(t testing.TB, store *etcdschema.Store, options ...Option) *Gateway {
	t.Helper()
	return StartAt(t, store, "127.0.0.1:0", options...)
}

// StartAt is Start at an address, such as that of a gateway that was stopped.
func StartAt(t testing.TB, store *etcdschema.Store, addr string, options ...Option) *Gateway {
	t.Helper()
	keys, err := keyring.Parse(Keys)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := identity.NewStatic([]identity.StaticToken{
		{Name: "admin", Token: Admin, Project: Project, Roles: []string{identity.Admin}},
		{Name: "member", Token: Member, Project: Project, Roles: []string{identity.Member}},
		{Name: "reader", Token: Reader, Project: Project, Roles: []string{identity.Reader}},
		{Name: "other", Token: Other, Project: "p2", Roles: []string{identity.Member}},
	})
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := blobstore.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cfg := gateway.Config{Store: store, Keys: keys, Identity: tokens, Blobs: blobs, Log: slog.New(slog.DiscardHandler), Version: "test", Limits: limitsOf(noRates()...)}
	for _, o := range options {
		o(&cfg)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.Open(ctx, cfg)
	if err != nil {
		l.Close()
		t.Fatal(err)
	}
	srv, _ := g.Serve(cfg.Limits.Listener(l))
	server := &Gateway{Gateway: g, URL: "http://" + l.Addr().String(), addr: l.Addr().String(), srv: srv}
	t.Cleanup(func() { server.Stop(t) })
	return server
}

// Metrics is what the gateway tells Prometheus.
func (g *Gateway) Metrics(t testing.TB) string {
	t.Helper()
	answer := httptest.NewRecorder()
	g.Operations().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("GET /metrics: %d", answer.Code)
	}
	return answer.Body.String()
}

// Stop drains and ends the gateway. Once is enough, twice is no error.
func (g *Gateway) Stop(t testing.TB) {
	t.Helper()
	if g.done {
		return
	}
	g.done = true
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := g.Close(ctx, g.srv); err != nil {
		t.Errorf("gateway: %v", err)
	}
}
