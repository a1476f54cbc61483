package redis

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// backup makes one with a strategy.
func backup(t *testing.T, m *Manager, s datastores.BackupStrategy) []byte {
	t.Helper()
	var b bytes.Buffer
	_, err := s.Backup(t.Context(), datastores.BackupRequest{ID: "b", Output: &b, Expect: func(int64) {}})
	must(t, err)
	return b.Bytes()
}

// from asks for a server made of a backup.
func from(s datastores.BackupStrategy, b []byte) datastores.PrepareRequest {
	link := datastores.BackupLink{ID: "b", Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }}
	return datastores.PrepareRequest{Progress: func(string) {}, Restore: &datastores.Restore{Strategy: s, Request: datastores.RestoreRequest{
		Chain: []datastores.BackupLink{link}, Progress: func(string) {},
	}}}
}

// TestBackupOfOneServerForAnother takes backups of each server to each: what an older one made, and nothing else, comes back.
func TestBackupOfOneServerForAnother(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		m, ctx := started(t, o, datastores.PrepareRequest{}), t.Context()
		c := open(t, m)
		fill(t, m, 0, 2000)
		for _, command := range []string{"HSET h a 1 b 2", "ZADD z 1 x 2 y", "SADD s 1 2 c", "RPUSH l a b", "XADD x 1-1 f v", "SETEX gone 1000 v", "PFADD p 1 2"} {
			must(t, c.Do(ctx, words(command)...).Err())
		}
		must(t, m.CreateUser(ctx, datastores.User{Name: "ann", Password: datastores.NewSecret("ann's")}))
		must(t, m.addReplica(ctx, datastores.ReplicaAccount{User: "rep", Password: datastores.NewSecret("x")}))
		for i, s := range m.BackupStrategies() {
			b := backup(t, m, s)
			for _, v := range variants() {
				t.Run(s.Name+" to "+v.name, func(t *testing.T) {
					options := optionsOf(t, v)
					options.AppendFsync = "always" // else SIGKILL may take what is acknowledged and not written yet
					to := place(t, options)
					err := to.Prepare(ctx, from(to.BackupStrategies()[i], b))
					if !v.takesOver(m.variant) {
						wantKind(t, "restore of a newer server's backup", err, datastores.Invalid)
						return
					}
					must(t, err)
					must(t, client(t, to, "ann", "ann's").Ping(ctx).Err())
					if client(t, to, "rep", "x").Ping(ctx).Err() == nil {
						t.Error("a replica's account came back")
					}
					now := client(t, to, rootName, rootPassword)
					if n, err := now.DBSize(ctx).Result(); err != nil || n != 2007 {
						t.Errorf("%d keys, %v; want 2007", n, err)
					}
					for command, want := range map[string]string{"HGET h b": "2", "ZSCORE z y": "2", "LINDEX l 1": "b", "XLEN x": "1", "PFCOUNT p": "2", "SCARD s": "3"} {
						if got := fmt.Sprint(now.Do(ctx, words(command)...).Val()); got != want {
							t.Errorf("%s = %s, want %s", command, got, want)
						}
					}
					must(t, now.Set(ctx, "new", "v", 0).Err())
					must(t, kill(ctx, to.env)) // the log has all of it from the first start on
					must(t, to.Start(ctx))
					if n, err := now.DBSize(ctx).Result(); err != nil || n != 2008 {
						t.Errorf("after a crash %d keys, %v; want 2008", n, err)
					}
				})
			}
		}
		if left, _ := filepath.Glob(m.dataPath(folder) + "/*.rdb"); len(left) > 0 {
			t.Errorf("backups have left %q", left)
		}
	})
}

func TestBackupCancelledLeavesNothing(t *testing.T) {
	m := running(t)
	open(t, m)
	fill(t, m, 0, 5000)
	for _, s := range m.BackupStrategies() {
		ctx, cancel := context.WithCancel(t.Context())
		w := writerFunc(func([]byte) (int, error) { cancel(); return 0, ctx.Err() }) // as the runtime's
		if _, err := s.Backup(ctx, datastores.BackupRequest{Output: w, Expect: func(int64) {}}); err == nil {
			t.Errorf("%s: a backup that was cancelled has succeeded", s.Name)
		}
		cancel()
		soon(t, "the server's child ends", func() bool {
			info, err := m.info(t.Context(), "persistence")
			return err == nil && info["rdb_bgsave_in_progress"] == "0" && info["aof_rewrite_in_progress"] == "0"
		})
	}
	entries, err := os.ReadDir(m.dataPath(folder))
	must(t, err)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".rdb") {
			t.Errorf("%s is left", e.Name())
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestArchiveThatIsNotOurs must not write outside its folder, nor make users with rules of their own.
func TestArchiveThatIsNotOurs(t *testing.T) {
	users := `[{"name":"default","on":true,"hashes":["` + strings.Repeat("a", 64) + `"]}]`
	for name, entries := range map[string][][2]string{
		"path":       {{usersEntry, users}, {"../../users.acl", "x"}},
		"no users":   {{"dump.rdb/1", "REDIS0009"}},
		"rules":      {{usersEntry, `[{"name":"a ~* +@all","on":true}]`}, {"dump.rdb/1", "REDIS0009"}},
		"hash":       {{usersEntry, `[{"name":"a","on":true,"hashes":["x nopass"]}]`}, {"dump.rdb/1", "REDIS0009"}},
		"empty":      {{usersEntry, users}},
		"short":      {{usersEntry, users}, {"dump.rdb/1", "RED"}},
		"twice":      {{usersEntry, users}, {firstBase, "REDIS0009"}, {firstBase, "REDIS0009"}},
		"no base":    {{usersEntry, users}, {"appendonly.aof.1.incr.aof", "*1"}},
		"damaged":    {{usersEntry, users}, {"dump.rdb/1", "REDIS0009 and nothing"}},
		"no archive": nil,
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, e := range entries {
			must(t, w.WriteHeader(&tar.Header{Name: e[0], Size: int64(len(e[1])), Mode: 0o600}))
			_, err := w.Write([]byte(e[1]))
			must(t, err)
		}
		m := place(t, optionsOf(t, variants()[0]))
		if err := m.Prepare(t.Context(), from(m.BackupStrategies()[0], b.Bytes())); err == nil {
			t.Errorf("%s: restored", name)
		}
	}
}

func TestSnapshotEndsWithItsMark(t *testing.T) {
	mark := strings.Repeat("m", markSize)
	for sent, want := range map[string]string{
		"data" + mark:                       "data",
		mark:                                "",
		strings.Repeat("x", 200_000) + mark: strings.Repeat("x", 200_000),
		"data" + mark[1:]:                   "error",
		"data":                              "error",
		"":                                  "error",
		"data" + mark + "x":                 "error",
		strings.Repeat("x", 100_000) + mark + mark: strings.Repeat("x", 100_000) + mark,
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		var sender sync.WaitGroup
		sender.Go(func() {
			if there, err := l.Accept(); err == nil {
				_, _ = io.WriteString(there, sent)
				_ = there.Close()
			}
		})
		here, err := net.Dial("tcp", l.Addr().String())
		must(t, err)
		c, err := newConn(t.Context(), here)
		must(t, err)
		b, err := io.ReadAll(newSnapshot(c, []byte(mark)))
		if got := string(b); err == nil && got != want || err != nil && want != "error" {
			t.Errorf("of %d bytes sent %d were read, %v; want %d", len(sent), len(got), err, len(want))
		}
		_ = c.Close()
		sender.Wait()
		_ = l.Close()
	}
}
