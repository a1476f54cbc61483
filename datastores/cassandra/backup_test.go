package cassandra

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

const aBackup = "00000000-0000-4000-8000-00000000000"

// backedUp makes a backup and returns its stream.
func backedUp(t *testing.T, m *Manager, n string, parent *datastores.BackupLink) *datastores.BackupLink {
	t.Helper()
	var b bytes.Buffer
	_, err := m.BackupStrategies()[0].Backup(t.Context(), datastores.BackupRequest{ID: aBackup + n, Parent: parent, Output: &b, Expect: func(int64) {}})
	must(t, err)
	t.Logf("backup %s: %d bytes", n, b.Len())
	return &datastores.BackupLink{ID: aBackup + n, Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }}
}

func from(m *Manager, chain ...*datastores.BackupLink) datastores.PrepareRequest {
	req := datastores.PrepareRequest{Progress: func(string) {}, Restore: &datastores.Restore{Strategy: m.BackupStrategies()[0]}}
	req.Restore.Request.Progress = func(string) {}
	for _, link := range chain {
		req.Restore.Request.Chain = append(req.Restore.Request.Chain, *link)
	}
	return req
}

// keeper is a tenant with everything that the server can store.
func keeper(t *testing.T, m *Manager) datastoretest.Login {
	t.Helper()
	must(t, m.CreateDatabase(t.Context(), datastores.Database{Name: "shop"}))
	must(t, m.CreateUser(t.Context(), datastores.User{
		Name: "ann", Password: datastores.NewSecret("ann's"), Databases: []datastores.Database{{Name: "shop"}},
	}))
	return datastoretest.Login{Address: m.env.Address, User: "ann", Password: "ann's", Database: "shop"}
}

// round makes a round of writes of every kind.
func round(t *testing.T, l datastoretest.Login, n int) {
	t.Helper()
	must(t, asTenant(t.Context(), l, func(s *session) error {
		var all error
		for _, kind := range kinds() {
			all = errors.Join(all, kind.Write(t.Context(), held{s, l.Database}, n))
		}
		return all
	}))
}

func wantRounds(t *testing.T, l datastoretest.Login, rounds ...int) {
	t.Helper()
	must(t, asTenant(t.Context(), l, func(s *session) error {
		for _, n := range rounds {
			for _, kind := range kinds() {
				if err := kind.Read(t.Context(), held{s, l.Database}, n); err != nil {
					t.Errorf("round %d, %s: %v", n, kind.Name, err)
				}
			}
		}
		return nil
	}))
}

func wantNoSnapshots(t *testing.T, m *Manager) {
	t.Helper()
	tree, err := m.data.Open()
	must(t, err)
	defer func() { _ = tree.Close() }()
	must(t, eachTable(tree, func(keyspace, table string) error {
		entries, err := tree.List(dataFolder + "/" + keyspace + "/" + table + "/" + snapshotsFolder)
		if err == nil && len(entries) > 0 {
			t.Errorf("%s/%s has snapshots: %v", keyspace, table, entries)
		}
		return nil
	}))
}

// TestBackups makes a server of a full backup and an incremental one, gives it another configuration, and kills it.
func TestBackups(t *testing.T) {
	o := optionsOf(t, "5.0")
	m, ctx := prepared(t, o), t.Context()
	l := keeper(t, m)
	round(t, l, 0)
	full := backedUp(t, m, "1", nil)
	round(t, l, 1)
	wantNoSnapshots(t, m)
	_, err := m.BackupStrategies()[0].Backup(ctx, datastores.BackupRequest{ID: aBackup + "2", Output: failing{}, Expect: func(int64) {}})
	if err == nil || !strings.Contains(err.Error(), errNoRoom.Error()) {
		t.Errorf("a backup without room: %v", err)
	}
	wantNoSnapshots(t, m)
	_, err = m.BackupStrategies()[0].Backup(ctx, datastores.BackupRequest{
		ID: aBackup + "4", Parent: &datastores.BackupLink{ID: aBackup + "9"}, Output: io.Discard, Expect: func(int64) {},
	})
	wantKind(t, err, datastores.Conflict)
	second := backedUp(t, m, "3", full)
	round(t, l, 2) // no backup has it
	_, err = m.EnableRoot(ctx, datastores.NewSecret("root's"))
	must(t, err)
	must(t, m.Stop(ctx))

	to := newManager(t, newEnv(t), o)
	if err := to.Prepare(ctx, from(to, second)); err == nil {
		t.Error("an incremental backup is restored without the one that it builds on")
	}
	must(t, to.Prepare(ctx, from(to, full, second)))
	l.Address = to.env.Address
	wantRounds(t, l, 0, 1)
	if on, err := to.RootEnabled(ctx); on || err != nil {
		t.Errorf("root, enabled after the backups: %t, %v", on, err)
	}
	if asTenant(ctx, datastoretest.Login{Address: l.Address, User: "ann", Password: "wrong"}, func(*session) error { return nil }) == nil {
		t.Error("any password is taken")
	}

	values := datastores.Values{"concurrent_reads": json.Number("17"), "read_request_timeout": "7s", "materialized_views_enabled": true}
	restart, err := to.UpdateOverrides(ctx, values)
	if !restart || err != nil {
		t.Errorf("other values take a restart: %t, %v", restart, err)
	}
	for _, refused := range []datastores.Values{{"row_cache_size": "9999MiB"}, {"batch_size_warn_threshold": "60KiB"}, {"concurrent_reads": json.Number("1")}, {"data_file_directories": "/"}} {
		wantKind(t, to.CheckOverrides(ctx, refused), datastores.Invalid)
	}
	round(t, l, 3)
	must(t, kill(ctx, to.env))
	must(t, to.Start(ctx))
	wantRounds(t, l, 0, 1, 3)
	for name, want := range map[string]string{"concurrent_reads": "17", "read_request_timeout": "7s", "materialized_views_enabled": "true"} {
		if got, err := show(ctx, to, name); got != want || err != nil {
			t.Errorf("%s is %q, %v; want %s", name, got, err, want)
		}
	}
	if restart, err := to.UpdateOverrides(ctx, values); restart || err != nil {
		t.Errorf("the same values take a restart: %t, %v", restart, err)
	}
}

var errNoRoom = errors.New("there is no room")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errNoRoom }

// TestUpgrade takes the data of 4.1 over.
func TestUpgrade(t *testing.T) {
	old := prepared(t, optionsOf(t, "4.1"))
	l, ctx := keeper(t, old), t.Context()
	round(t, l, 0)
	must(t, old.Stop(ctx))
	m := newManager(t, old.env, optionsOf(t, "5.0"))
	must(t, m.Upgrade(ctx, datastores.UpgradeRequest{From: jsonOf(t, old.options), Progress: func(string) {}}))
	wantRounds(t, l, 0)
	round(t, l, 1)
	wantRounds(t, l, 0, 1)
	wantKind(t, old.Upgrade(ctx, datastores.UpgradeRequest{From: jsonOf(t, m.options), Progress: func(string) {}}), datastores.Invalid)
}
