package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/cofferdb/coffer/datastores"
)

// everyKind writes in every way that the server has. What it wrote is what kept looks for.
func everyKind(ctx context.Context, c *redis.Client, n int) error {
	key := func(name string) string { return fmt.Sprintf("%s:%d", name, n) }
	library := fmt.Sprintf("#!lua name=lib%d\nredis.register_function('put%d', function(keys, args) "+
		"redis.call('SET', keys[1], args[1]) redis.call('SET', keys[2], args[1]) return 1 end)", n, n)
	for _, do := range []func() error{
		func() error { return c.Set(ctx, key("plain"), "v", 0).Err() },
		func() error {
			_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
				p.Set(ctx, key("multi"), "v", 0)
				p.HSet(ctx, key("multi-hash"), "f", "v")
				p.Do(ctx, "FUNCTION", "LOAD", strings.ReplaceAll(strings.ReplaceAll(library, "lib", "multilib"), "put", "multiput"))
				return nil
			})
			return err
		},
		func() error {
			_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
				p.Set(ctx, key("pipeline"), "v", 0)
				p.Set(ctx, key("pipeline-expires"), "v", 0)
				p.Expire(ctx, key("pipeline-expires"), 1<<40)
				return nil
			})
			return err
		},
		func() error {
			return c.Eval(ctx, "redis.call('SET', KEYS[1], 'v') redis.call('SET', KEYS[2], 'v') return 1", []string{key("eval"), key("eval-two")}).Err()
		},
		func() error { return c.FunctionLoad(ctx, library).Err() },
		func() error {
			return c.FCall(ctx, fmt.Sprintf("put%d", n), []string{key("function"), key("function-two")}, "v").Err()
		},
		func() error { return c.RPush(ctx, key("list"), "a", "b").Err() },
		func() error { return c.BLMove(ctx, key("list"), key("moved"), "LEFT", "RIGHT", 0).Err() },
		func() error {
			return c.XAdd(ctx, &redis.XAddArgs{Stream: key("stream"), Values: []string{"f", "v"}}).Err()
		},
		func() error { return c.XGroupCreate(ctx, key("stream"), "readers", "0").Err() },
		func() error {
			return c.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "readers", Consumer: "c", Streams: []string{key("stream"), ">"}}).Err()
		},
	} {
		if err := do(); err != nil {
			return err
		}
	}
	// A connection of its own: another database is for this one alone.
	other := c.Conn()
	defer func() { _ = other.Close() }()
	if err := other.Select(ctx, 3).Err(); err != nil {
		return err
	}
	_, err := other.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, key("other"), "v", 0)
		p.Move(ctx, key("other"), 0)
		p.Set(ctx, key("other"), "v", 0)
		p.Select(ctx, 0)
		return nil
	})
	return err
}

// kept says what of everyKind is not there.
func kept(ctx context.Context, c *redis.Client, n int) (missing []string) {
	for command, want := range map[string]string{
		"GET plain": "v", "GET multi": "v", "HGET multi-hash f": "v", "GET pipeline": "v", "GET pipeline-expires": "v",
		"GET eval": "v", "GET eval-two": "v", "GET function": "v", "GET function-two": "v",
		"LINDEX list 0": "b", "LINDEX moved 0": "a", "XLEN stream": "1", "GET other": "v",
	} {
		name := strings.Fields(command)
		name[1] += fmt.Sprintf(":%d", n)
		if got := fmt.Sprint(c.Do(ctx, words(strings.Join(name, " "))...).Val()); got != want {
			missing = append(missing, fmt.Sprintf("%s is %s", name, got))
		}
	}
	if pending, err := c.XPending(ctx, fmt.Sprintf("stream:%d", n), "readers").Result(); err != nil || pending.Count != 1 {
		missing = append(missing, fmt.Sprintf("the stream's readers: %v, %v", pending, err))
	}
	for _, library := range []string{"lib", "multilib"} {
		found, err := c.FunctionList(ctx, redis.FunctionListQuery{LibraryNamePattern: fmt.Sprint(library, n)}).Result()
		if err != nil || len(found) != 1 {
			missing = append(missing, fmt.Sprintf("library %s: %v, %v", library, found, err))
		}
	}
	return missing
}

func wantKept(t *testing.T, when string, c *redis.Client, last int) {
	t.Helper()
	for n := range last + 1 {
		for _, what := range kept(t.Context(), c, n) {
			t.Errorf("%s: round %d: %s", when, n, what)
		}
	}
}

// TestWhatIsAcknowledgedIsKept has root off, as after DELETE root, on, and a server that was made read-only: the server
// replays transactions of its append-only file with the rights of its default user.
func TestWhatIsAcknowledgedIsKept(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		o.AppendFsync = "always" // what is acknowledged is in the file, also when SIGKILL comes
		for _, root := range []string{"off", "on", "read-only"} {
			t.Run("root "+root, func(t *testing.T) {
				m, ctx := started(t, o, datastores.PrepareRequest{}), t.Context()
				must(t, m.CreateUser(ctx, datastores.User{Name: "bob", Password: datastores.NewSecret("bob's")}))
				if root != "off" {
					open(t, m)
				}
				bob := client(t, m, "bob", "bob's")
				must(t, everyKind(ctx, bob, 0))
				if root == "read-only" {
					must(t, syncReplication{m}.SetReadOnly(ctx, true))
					t.Cleanup(func() { wantFenced(t, m) })
				}
				must(t, m.Stop(ctx))
				must(t, m.Start(ctx))
				wantKept(t, "after a restart", bob, 0)
				if root == "read-only" {
					wantFenced(t, m)
					must(t, kill(ctx, m.env))
					must(t, m.Start(ctx))
					wantKept(t, "after a crash", bob, 0)
					return
				}
				must(t, everyKind(ctx, bob, 1))
				must(t, kill(ctx, m.env))
				must(t, m.Start(ctx))
				wantKept(t, "after a crash", bob, 1)
				for i, s := range m.BackupStrategies() {
					must(t, everyKind(ctx, bob, 2+i)) // what follows the snapshot in the log
					to := place(t, o)
					must(t, to.Prepare(ctx, from(to.BackupStrategies()[i], backup(t, m, s))))
					there := client(t, to, "bob", "bob's")
					wantKept(t, "restored by "+s.Name, there, 2+i)
					must(t, to.Stop(ctx))
					must(t, to.Start(ctx))
					wantKept(t, "restarted, restored by "+s.Name, there, 2+i)
				}
				replica := replicaOf(t, m, 1)
				must(t, everyKind(ctx, bob, 4))
				p, err := syncReplication{m}.Position(ctx)
				must(t, err)
				must(t, syncReplication{replica}.WaitFor(ctx, p))
				there := client(t, replica, "bob", "bob's")
				wantKept(t, "on a replica", there, 4)
				must(t, kill(ctx, m.env)) // it cannot copy again
				must(t, replica.Stop(ctx))
				must(t, replica.Start(ctx))
				must(t, syncReplication{replica}.Promote(ctx, nil))
				wantKept(t, "on a promoted replica", there, 4)
				must(t, everyKind(ctx, there, 5))
				must(t, kill(ctx, replica.env))
				must(t, replica.Start(ctx))
				wantKept(t, "on a promoted replica after a crash", there, 5)
				newest := variants()[len(variants())-1]
				if m.variant == newest {
					return
				}
				must(t, replica.Stop(ctx))
				raw, err := json.Marshal(replica.options)
				must(t, err)
				newer := New(replica.env, optionsOf(t, newest))
				must(t, newer.Upgrade(ctx, datastores.UpgradeRequest{From: raw, Progress: func(string) {}}))
				wantKept(t, "after the upgrade", there, 5)
			})
		}
	})
}

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
				must(t, syncReplication{m}.SetReadOnly(ctx, true))
			} else {
				must(t, m.DisableRoot(ctx))
			}
			_ = everyKind(ctx, client(t, m, "bob", "bob's"), 0) // the second time there is nothing to add
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

// wantClosed tries what a stranger can try, on connections of a stranger's and on one that was bob's.
func wantClosed(t *testing.T, when string, m *Manager) {
	t.Helper()
	for _, first := range []string{"", "AUTH bob bob's"} {
		c, err := dialTCP(t.Context(), m.env.Address)
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
