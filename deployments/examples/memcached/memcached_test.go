package memcached

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

func harness() datastoretest.Harness {
	return datastoretest.Harness{
		Plugin: Plugin(),
		NewEnv: newEnv,
		Connect: func(ctx context.Context, address, user, password, _ string) error {
			return login(ctx, address, user, password)
		},
		Dynamic: datastores.Values{"lru_crawler_sleep": json.Number("250")},
		Static:  datastores.Values{"connections": json.Number("200"), "evictions": "off"},
		Show: func(ctx context.Context, m datastores.Manager, parameter string) (string, error) {
			values, err := m.(*Manager).runningSettings(ctx)
			return values[parameter], err
		},
		Kill: kill,
		Exceptions: []datastoretest.Exception{{
			Test: "root", Reason: "its passwords have spaces, which memcached does not take: see TestRoot",
		}},
	}
}

func kill(ctx context.Context, env datastores.Env) error {
	server, err := New(env, DefaultOptions()).server()
	if err != nil {
		return err
	}
	return datastoretest.KillServer(ctx, server)
}

func newEnv(t *testing.T) datastores.Env {
	datastoretest.Require(t, DefaultOptions().Program, "memcached")
	return datastoretest.NewEnv(t)
}

func TestMemcached(t *testing.T) {
	t.Parallel()
	datastoretest.Run(t, harness())
}

// running returns a manager of a running server.
func running(t *testing.T) *Manager {
	t.Helper()
	t.Parallel()
	m := New(newEnv(t), DefaultOptions())
	t.Cleanup(func() {
		if err := m.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := m.Prepare(t.Context(), datastores.PrepareRequest{Progress: func(string) {}}); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRoot(t *testing.T) {
	m, ctx := running(t), t.Context()
	lets := func(password string) bool { return login(ctx, m.env.Address, rootUser, password) == nil }
	for _, password := range []string{`first:"root'`, "second"} {
		if name, err := m.EnableRoot(ctx, datastores.NewSecret(password)); err != nil || name != rootUser || !lets(password) {
			t.Fatalf("enable: %q, %v", name, err)
		}
	}
	if lets(`first:"root'`) {
		t.Error("the old password is good still")
	}
	for _, err := range []error{m.Stop(ctx), m.Start(ctx)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if !lets("second") {
		t.Error("root is not let in after a restart")
	}
	for range 2 {
		if err := m.DisableRoot(ctx); err != nil || lets("second") {
			t.Errorf("disable: %v; root is let in: %t", err, lets("second"))
		}
	}
	for _, password := range []string{"", "a b", "a\r\nb", strings.Repeat("x", 129), "ü"} {
		if _, err := m.EnableRoot(ctx, datastores.NewSecret(password)); err == nil {
			t.Errorf("password %q is taken", password)
		}
	}
}

// TestEveryParameter sets each parameter to something else, and asks the server what it runs with.
func TestEveryParameter(t *testing.T) {
	m, ctx := running(t), t.Context()
	has, err := m.runningSettings(ctx)
	if err != nil {
		t.Fatal(err)
	}
	other := datastores.Values{
		"connections": json.Number("100"), "max_item_size": json.Number("2097152"), "idle_timeout": json.Number("60"),
		"evictions": "off", "lru_crawler_sleep": json.Number("7"),
	}
	set := datastores.Values{} // more and more of other, so that each time only the last is news to the server
	for _, p := range m.Parameters() {
		set[p.Name] = other[p.Name]
		if value := m.DefaultConfiguration()[p.Name]; has[p.Name] != value {
			t.Errorf("%s is %q in a new server, and said to be %q", p.Name, has[p.Name], value)
		}
		restart, err := m.UpdateOverrides(ctx, set)
		if err != nil || restart != p.RestartRequired {
			t.Errorf("%s: restart %t, %v; its parameter says %t", p.Name, restart, err, p.RestartRequired)
		}
		for _, err := range []error{m.Stop(ctx), m.Start(ctx)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if now, err := m.runningSettings(ctx); err != nil || now[p.Name] == has[p.Name] {
			t.Errorf("%s is %q after a restart, too (%v)", p.Name, now[p.Name], err)
		}
	}
}

func TestMemoryOfTheFlavor(t *testing.T) {
	m := running(t)
	lines, err := m.call(t.Context(), "stats settings")
	want := "STAT maxbytes 213909504" // 80 % of 256 MB, in whole MB
	if err != nil || !strings.Contains(strings.Join(lines, "\n"), want) {
		t.Errorf("%v, want %s in\n%s", err, want, strings.Join(lines, "\n"))
	}
}

func TestStrangers(t *testing.T) {
	m := running(t)
	c, err := net.Dial("tcp", net.JoinHostPort(m.env.Address, "11211"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := send(c, "version"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if n, err := c.Read(b); err != nil || !strings.Contains(string(b[:n]), "unauthenticated") {
		t.Errorf("without a password: %q, %v", b[:n], err)
	}
	if info, err := os.Stat(m.env.DataDir + "/" + accountsFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the accounts: %v, %v", info.Mode(), err)
	}
}
