package redis

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// aof is the strategy whose backups the log is replayed on.
func aof(m *Manager) datastores.BackupStrategy { return m.BackupStrategies()[1] }

// logEnd is where the log ends now.
func logEnd(t *testing.T, m *Manager) string {
	t.Helper()
	tree, err := m.data.Open()
	must(t, err)
	defer func() { _ = tree.Close() }()
	files, err := readLogFiles(tree)
	must(t, err)
	info, err := tree.Lstat(filepath.Join(aofFolder, incrName(files.last)))
	must(t, err)
	return spot{files.last, info.Size()}.String()
}

// TestPointInTime: a server is made as it was at any second, or position, of a log that was shipped through rewritings and a crash of the server.
func TestPointInTime(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		t.Parallel()
		o.AppendFsync = "always"
		m, ctx := started(t, o, datastores.PrepareRequest{}), t.Context()
		c := open(t, m)
		fill(t, m, 0, 500)
		log := &datastoretest.ShippedLog{Manager: m}
		log.Ship(t, 1<<20)
		must(t, c.Set(ctx, "n", 0, 0).Err())
		base := backup(t, m, aof(m))
		rewrite := func() { must(t, m.rewriteLog(ctx)) }
		const rows = 8
		times, places := make([]time.Time, rows+1), make([]string, rows+1)
		for n := 1; n <= rows; n++ {
			_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
				p.Set(ctx, "n", n, 0)
				p.Set(ctx, fmt.Sprint("row", n), strings.Repeat("v", 2000), 0)
				p.SAdd(ctx, "s", n)
				return nil
			})
			must(t, err)
			times[n], places[n] = time.Now(), logEnd(t, m)
			switch n {
			case 2: // twice: an increment of which nothing was shipped is history
				rewrite()
				rewrite()
			case 3:
				log.Ship(t, 700)
			case 4:
				must(t, kill(ctx, m.env))
				must(t, m.Start(ctx))
			case 5:
				rewrite()
				log.Ship(t, 1<<20)
				log.Ship(t, 1<<20)
				tree, err := m.data.Open()
				must(t, err)
				files, err := readLogFiles(tree)
				must(t, err)
				shipped, err := parsePlace(log.At)
				must(t, err)
				for _, name := range files.history {
					if numberOf(name) == shipped.file {
						continue // the position is in it
					}
					if there, err := tree.Exists(filepath.Join(aofFolder, name)); there || err != nil {
						t.Errorf("%s is shipped, and still there", name)
					}
				}
				_ = tree.Close()
			case 6:
				m = New(m.env, o) // a new guest
				log.Manager = m
			}
			until.Passed(1100 * time.Millisecond)
		}
		log.Ship(t, 1<<20)
		restored := func(at time.Time, position string) (int, error) {
			t.Helper()
			other := place(t, o)
			req := from(aof(other), base)
			req.Restore.Request.Log = log.Replay(0, at, position)
			if err := other.Prepare(ctx, req); err != nil {
				return 0, err
			}
			c := client(t, other, rootName, rootPassword)
			n, err := c.Get(ctx, "n").Int()
			must(t, err)
			items, err := c.Keys(ctx, "item:*").Result()
			must(t, err)
			all, err := c.Keys(ctx, "row*").Result()
			must(t, err)
			if len(items) != 500 || len(all) != n || c.SCard(ctx, "s").Val() != int64(n) {
				t.Errorf("as of row %d there are %d items, %d rows, and %d in the set", n, len(items), len(all), c.SCard(ctx, "s").Val())
			}
			must(t, c.Set(ctx, "new", "v", 0).Err())
			must(t, kill(ctx, other.env))
			must(t, other.Start(ctx))
			must(t, c.Get(ctx, "new").Err())
			must(t, other.Stop(ctx))
			return n, nil
		}
		for _, n := range []int{1, 3, 4, 6, rows} {
			if got, err := restored(times[n], ""); err != nil || got != n {
				t.Errorf("as of the second of row %d it is row %d: %v", n, got, err)
			}
		}
		for _, n := range []int{2, 5, rows} {
			if got, err := restored(time.Time{}, places[n]); err != nil || got != n {
				t.Errorf("as of %s, behind row %d, it is row %d: %v", places[n], n, got, err)
			}
		}
		for _, wrong := range []string{"appendonly.aof.99.incr.aof:4", "appendonly.aof.1.incr.aof:0", "yesterday"} {
			_, err := restored(time.Time{}, wrong)
			wantKind(t, "to "+wrong, err, datastores.Invalid)
		}
		gap := *log
		gap.Parts = append(gap.Parts[:2:2], gap.Parts[3:]...)
		log = &gap
		_, err := restored(times[rows], "")
		wantKind(t, "with a part that is missing", err, datastores.Invalid)
	})
}

// TestLogIsGone: what the server has to give up, or has begun anew, ends the shipping for good; a command that is half written waits.
func TestLogIsGone(t *testing.T) {
	m, ctx := running(t), t.Context()
	c := open(t, m)
	fill(t, m, 0, 10)
	log := &datastoretest.ShippedLog{Manager: m}
	log.Ship(t, 1<<20)
	was := log.At
	must(t, c.Set(ctx, "k", "v", 0).Err())
	path := m.dataPath(filepath.Join(aofFolder, incrName(1)))
	whole, err := os.ReadFile(path)
	must(t, err)
	for _, torn := range [][]byte{request([]string{"SET", "a", "b"})[:11], append(request([]string{"MULTI"}), request([]string{"SET", "a", "b"})...)} {
		must(t, os.WriteFile(path, append(bytes.Clone(whole), torn...), 0o600))
		var b bytes.Buffer
		reply, err := New(m.env, m.options).ReadLog(ctx, datastores.LogRequest{After: was, Most: 1 << 20, Output: &b})
		must(t, err)
		if want := (spot{1, int64(len(whole))}).String(); reply.To != want || reply.At.IsZero() {
			t.Errorf("the log ends at %s, want %s, before what is half written", reply.To, want)
		}
	}
	must(t, os.WriteFile(path, append(bytes.Clone(whole), "garbage\r\n"...), 0o600))
	if reply, err := New(m.env, m.options).ReadLog(ctx, datastores.LogRequest{After: was, Most: 1 << 20, Output: io.Discard}); err == nil {
		t.Errorf("damage is passed over: %+v", reply)
	}
	must(t, os.WriteFile(path, whole, 0o600))
	log.Ship(t, 1<<20)

	conflict := func(what string, at string) {
		t.Helper()
		_, err := m.KeepLog(ctx, at)
		if err == nil {
			_, err = m.ReadLog(ctx, datastores.LogRequest{After: at, Most: 1 << 20, Output: io.Discard})
		}
		wantKind(t, what, err, datastores.Conflict)
	}
	conflict("a place that is not there", spot{1, 1 << 30}.String())
	conflict("a file that is not there", spot{9, 0}.String())
	must(t, m.DropLog(ctx))
	must(t, m.DropLog(ctx))
	conflict("a log that is not kept", log.At)
	log.At = ""
	log.Ship(t, 1<<20)
	must(t, m.rewriteLog(ctx))
	log.Ship(t, 1<<20)
	tree, err := m.data.Open()
	must(t, err)
	defer func() { _ = tree.Close() }()
	files, err := readLogFiles(tree)
	must(t, err)
	if len(files.history) == 0 {
		t.Error("the server has removed what it has rewritten")
	}
	source := running(t)
	open(t, source)
	account := datastores.ReplicaAccount{ReplicaID: "r", User: "rep", Password: datastores.NewSecret("x")}
	must(t, source.addReplica(ctx, account))
	must(t, m.attach(ctx, datastores.AttachRequest{Address: source.env.Address, Account: account, Progress: func(string) {}}))
	_, err = m.KeepLog(ctx, log.At)
	if e, ok := errors.AsType[*datastores.Error](err); !ok || e.Kind == datastores.Conflict {
		t.Errorf("a replica ships nothing for now, and not never again: %v", err)
	}
	must(t, m.promote(ctx, nil))
	conflict("another history", log.At)
}
