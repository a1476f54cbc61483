package redis

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// TestClosedWhileItLoads lets a stranger try before, while and after the server replays its data: the user as which it
// does so has every right.
func TestClosedWhileItLoads(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		m, ctx := started(t, o, datastores.PrepareRequest{}), t.Context()
		must(t, m.CreateUser(ctx, datastores.User{Name: "bob", Password: datastores.NewSecret("bob's")}))
		wantClosed(t, "before root was ever enabled", m)
		open(t, m)
		fill(t, m, 0, 500)
		must(t, m.rewriteLog(ctx)) // while it loads a snapshot a server answers often
		for _, fenced := range []bool{false, true} {
			if fenced {
				open(t, m)
				must(t, m.setReadOnly(ctx, true))
			} else {
				must(t, m.DisableRoot(ctx))
			}
			writeKinds(t, datastoretest.Login{Address: m.env.Address, User: "bob", Password: "bob's"})
			must(t, m.Stop(ctx))
			must(t, m.configure())
			conf, err := os.ReadFile(m.dataPath(configFile))
			must(t, err)
			slow := "\nkey-load-delay 2000\nloading-process-events-interval-bytes 1024\n"
			must(t, os.WriteFile(m.dataPath(configFile), append(conf, slow...), 0o600))
			must(t, m.service.Start(ctx))
			loading := 0
			soon(t, "the server has loaded", func() bool {
				err := m.ping(ctx)
				var refused replyError
				if errors.As(err, &refused) && strings.HasPrefix(string(refused), "LOADING") {
					loading++
					wantClosed(t, "while it loads", m)
				}
				return err == nil
			})
			if loading == 0 {
				t.Error("nobody has tried while the server was loading")
			}
			if !fenced {
				wantClosed(t, "after it has loaded", m)
			}
			must(t, m.Start(ctx))
			if fenced {
				wantFenced(t, m)
			} else {
				wantClosed(t, "after the start", m)
			}
		}
	})
}

// writeKinds makes one write of each kind, in the first round alone: then there is nothing to add.
func writeKinds(t *testing.T, l datastoretest.Login) {
	t.Helper()
	session, err := openSession(t.Context(), l)
	must(t, err)
	defer func() { must(t, session.Close()) }()
	for _, kind := range kinds() {
		if kind.Read(t.Context(), session, 0) != nil {
			must(t, kind.Write(t.Context(), session, 0))
		}
	}
}

// wantClosed tries what a stranger can try, on connections of a stranger's and on one that was bob's.
func wantClosed(t *testing.T, when string, m *Manager) {
	t.Helper()
	for _, first := range []string{"", "AUTH bob bob's"} {
		c, err := dialTCP(t.Context(), m.env.Address, nil)
		must(t, err)
		if first != "" {
			_, err = c.call(strings.Fields(first)...)
			must(t, err)
			_, err = c.call("RESET")
			must(t, err)
		}
		for _, command := range []string{
			"AUTH x", "AUTH default x", "AUTH default " + hashed(rootPassword), "HELLO 3 AUTH default x",
			"PING", "GET plain:0", "SET x 1", "MULTI", "EVAL return(1) 0", "FUNCTION LIST", "ACL LIST", "ACL WHOAMI", "CONFIG GET *",
			"INFO", "SELECT 1", "SUBSCRIBE x", "MONITOR", "SYNC", "PSYNC ? -1", "REPLICAOF NO ONE", "CLIENT NO-EVICT on", "SHUTDOWN", "FLUSHALL",
		} {
			_, err := c.call(strings.Fields(command)...)
			if err == nil || !strings.HasPrefix(err.Error(), "NOAUTH") && !strings.HasPrefix(err.Error(), "WRONGPASS") {
				t.Errorf("%s a stranger's %s = %v", when, command, err)
			}
		}
		must(t, c.Close())
	}
}

// wantFenced checks that root may read and not write.
func wantFenced(t *testing.T, m *Manager) {
	t.Helper()
	c := tenant(m.env.Address, rootName, rootPassword)
	defer func() { _ = c.Close() }()
	if err := c.Get(context.Background(), "plain:0").Err(); err != nil {
		t.Errorf("root cannot read: %v", err)
	}
	if err := c.Set(context.Background(), "plain:0", "w", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
		t.Errorf("root writes to a server that is read-only: %v", err)
	}
}
