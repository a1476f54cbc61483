package mysql

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/datastores"
)

// A chain of three brings everything back, accounts and rights too, but those of replicas; and leaves nothing behind.
func TestChain(t *testing.T) {
	ctx := t.Context()
	source := prepared(t)
	l := tenant(t, source)
	must(t, source.replication().Source.AddReplica(ctx, replicaAccount(source)))
	must(t, execute(ctx, admin(t, source), "TRUNCATE mysql.time_zone_name")) // as of a server that was made before there were any
	chain := []datastores.BackupLink{backupOf(t, source, nil)}
	for n := 20; n < 40; n += 10 {
		_, err := write(ctx, l, n, n+10)
		must(t, err)
		chain = append(chain, backupOf(t, source, &chain[len(chain)-1]))
	}
	want, wantDigest, err := digest(ctx, l)
	must(t, err)
	for _, left := range []string{clientName, copyDir} {
		if there, _ := source.data.Exists(left); there {
			t.Errorf("a backup has left %s behind", left)
		}
	}

	m := newManager(t, newEnv(t))
	must(t, m.Prepare(ctx, restoring(m, chain...)))
	if items, sum, err := digest(ctx, loginTo(m)); err != nil || items != want || sum != wantDigest {
		t.Errorf("restored %d items, %v; want %d", items, err, want)
	}
	wantZones(t, m)
	var replicas int
	must(t, admin(t, m).QueryRow("SELECT COUNT(*) FROM mysql.global_priv WHERE User LIKE 'slave%'").Scan(&replicas))
	if replicas != 0 {
		t.Error("the account of a replica of another server was restored")
	}
	var id uint32
	must(t, admin(t, m).QueryRow("SELECT @@server_id").Scan(&id))
	if id != m.serverID() || id == source.serverID() {
		t.Errorf("the restored server has id %d, its source %d", id, source.serverID())
	}
	if left, _ := filepath.Glob(m.path(dataDir + ".making-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func restoring(m *Manager, chain ...datastores.BackupLink) datastores.PrepareRequest {
	return datastores.PrepareRequest{Progress: func(string) {}, Restore: &datastores.Restore{
		Strategy: m.physicalStrategy(), Request: datastores.RestoreRequest{Chain: chain, Progress: func(string) {}},
	}}
}

func TestBackupOfAnotherVersion(t *testing.T) {
	m := newManager(t, newEnv(t))
	meta, err := json.Marshal(backupMeta{Family: "mariadb", Version: "11.8", ToLSN: "1"})
	must(t, err)
	link := datastores.BackupLink{ID: "b", Meta: meta}
	wantKind(t, m.Prepare(t.Context(), restoring(m, link)), datastores.Invalid)
	for _, meta := range []string{string(meta), `{"family":"mariadb","version":"10.11"}`, `[]`} {
		_, err = m.physicalStrategy().Backup(t.Context(), datastores.BackupRequest{
			Parent: &datastores.BackupLink{ID: "b", Meta: json.RawMessage(meta)}, Output: io.Discard, Expect: func(int64) {},
		})
		wantKind(t, err, datastores.Invalid)
	}
}

// While programs run, the administration password is in nobody's arguments or environment, nor in a file that others may read.
func TestProgramsDoNotShowThePassword(t *testing.T) {
	m := prepared(t)
	l := tenant(t, m)
	password, err := m.adminPassword()
	must(t, err)
	looks := 0
	look := func() {
		looks++
		for _, pattern := range []string{"/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ"} {
			files, err := filepath.Glob(pattern)
			must(t, err)
			for _, file := range files {
				if b, err := os.ReadFile(file); err == nil && bytes.Contains(b, []byte(password.Reveal())) {
					t.Errorf("the password is in %s", file)
				}
			}
		}
		if info, err := os.Stat(m.path(clientName)); err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("the file with the password has mode %v", info.Mode())
		}
	}
	// What holds for every session does not hold for those of programs, nor does it stay as they need it.
	must(t, execute(t.Context(), admin(t, m), "SET GLOBAL sql_select_limit = 1", "SET GLOBAL wait_timeout = 1"))
	for _, s := range m.BackupStrategies() {
		first := true
		_, err := s.Backup(t.Context(), datastores.BackupRequest{ID: "b", Expect: func(int64) {}, Output: hook(func() {
			if first {
				look()
			}
			first = false
		})})
		must(t, err)
	}
	if looks != 2 {
		t.Errorf("looked %d times", looks)
	}
	var limit, wait int
	must(t, admin(t, m).QueryRow("SELECT @@GLOBAL.sql_select_limit, @@GLOBAL.wait_timeout").Scan(&limit, &wait))
	if limit != 1 || wait != 1 {
		t.Errorf("after backups, sql_select_limit is %d and wait_timeout %d", limit, wait)
	}
	done := make(chan error, 1)
	must(t, m.Stop(t.Context()))
	from, err := json.Marshal(DefaultOptions())
	must(t, err)
	go func() {
		done <- m.Upgrade(t.Context(), datastores.UpgradeRequest{From: from, Progress: func(string) {}})
	}()
	for running := true; running; {
		select {
		case err := <-done:
			must(t, err)
			running = false
		default:
			look()
		}
	}
	_, err = write(t.Context(), l, 20, 21)
	must(t, err)
}

// The dump has what is not in tables, too.
func TestDumpHasEverything(t *testing.T) {
	ctx := t.Context()
	m := prepared(t)
	l := tenant(t, m)
	_, err := m.EnableRoot(ctx, secret("pass"))
	must(t, err)
	asRoot, err := login(t, m, "root", "pass", "shop")
	must(t, err)
	for _, s := range []string{
		"CREATE VIEW shop.seen AS SELECT n FROM shop.items",
		"CREATE FUNCTION shop.twice(i INT) RETURNS INT RETURN 2 * i",
		"CREATE TRIGGER shop.loud BEFORE INSERT ON shop.items FOR EACH ROW SET NEW.item = UPPER(NEW.item)",
		"CREATE EVENT shop.daily ON SCHEDULE EVERY 1 DAY DO DELETE FROM shop.items WHERE n < 0",
		"CREATE ROLE clerk", "GRANT SELECT ON shop.* TO clerk", "GRANT clerk TO ann",
		"CREATE TABLE shop.`odd ``name` (b BLOB, t TEXT) CHARACTER SET utf8mb4",
		"INSERT INTO shop.`odd ``name` VALUES (x'00FF5C2700', '\\! delimiter // 🔑')",
		"INSERT INTO shop.`odd ``name` VALUES (REPEAT('\\n', 60000), '')",
		"SET GLOBAL sql_select_limit = 1",
	} {
		must(t, execute(ctx, asRoot, s))
	}
	var stream bytes.Buffer
	logs := logSize(t, m)
	reply, err := m.dumpStrategy().Backup(ctx, datastores.BackupRequest{Output: &stream, Expect: func(int64) {}})
	must(t, err)
	wantWithoutLogs(t, m, logs, reply)
	must(t, execute(ctx, asRoot, "SET GLOBAL sql_select_limit = DEFAULT"))
	if strings.Contains(stream.String(), adminUser) {
		t.Error("the guest's own account is in the dump")
	}
	to := newManager(t, newEnv(t))
	req := restoring(to, datastores.BackupLink{ID: "b", Meta: reply.Meta, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(stream.Bytes())), nil
	}})
	req.Restore.Strategy = to.dumpStrategy()
	// The rows are larger than what the new server takes, and so are the dump's statements.
	req.Overrides = datastores.Values{"max_allowed_packet": json.Number("65536"), "autocommit": json.Number("0"), "max_statement_time": json.Number("0.01"), "sql_mode": "ANSI_QUOTES", "lower_case_table_names": json.Number("1")}
	must(t, to.Prepare(ctx, req))
	if packet, err := show(ctx, to, "max_allowed_packet"); err != nil || packet != "65536" {
		t.Errorf("max_allowed_packet is %s, %v after the restore", packet, err)
	}
	must(t, execute(ctx, admin(t, to), "SET GLOBAL max_statement_time = 0")) // what follows may take longer
	_, want, err := digest(ctx, l)
	must(t, err)
	if _, got, err := digest(ctx, loginTo(to)); err != nil || got != want {
		t.Errorf("%v; the digests are %s and %s", err, got, want)
	}
	var counts [2][4]int
	for i, m := range []*Manager{m, to} {
		for j, s := range []string{
			"SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = 'shop'",
			"SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = 'shop' AND STATUS = 'ENABLED'",
			"SELECT shop.twice(2)",
			"SELECT COUNT(*) FROM mysql.roles_mapping WHERE User = 'ann' AND Role = 'clerk'",
		} {
			must(t, admin(t, m).QueryRow(s).Scan(&counts[i][j]))
		}
	}
	if diff := cmp.Diff(counts[0], counts[1]); diff != "" || counts[0] != [4]int{1, 1, 4, 1} {
		t.Errorf("%v: %s", counts, diff)
	}
	foldsNames(t, to)
}

// foldsNames has a server that knows small letters only take names with large ones in every call.
func foldsNames(t *testing.T, m *Manager) {
	t.Helper()
	ctx := t.Context()
	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "My_Main"}))
	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "Other"}))
	wantKind(t, m.CreateDatabase(ctx, datastores.Database{Name: "MY_MAIN"}), datastores.Exists)
	names := []string{"My_Main", "MY_MAIN"}
	folded, err := m.FoldDatabases(ctx, names)
	must(t, err)
	wantKind(t, datastores.CheckDistinct(names, folded), datastores.Invalid)
	must(t, m.CreateUser(ctx, datastores.User{Name: "Bob", Password: secret("pass"), Databases: named("My_MAIN")}))
	must(t, m.GrantAccess(ctx, "Bob", "", []string{"OTHER"}))
	must(t, m.RevokeAccess(ctx, "Bob", "", "my_MAIN"))
	access, err := m.ListAccess(ctx, "Bob", "")
	must(t, err)
	if diff := cmp.Diff([]string{"other"}, namesOf(access)); diff != "" {
		t.Errorf("access (-want +got):\n%s", diff)
	}
	_, err = m.GetUser(ctx, "bob", "")
	wantKind(t, err, datastores.NotFound)
	must(t, m.DeleteDatabase(ctx, "OtheR"))
	wantKind(t, m.DeleteDatabase(ctx, "Other"), datastores.NotFound)
}
