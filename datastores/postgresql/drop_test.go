package postgresql

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// crowded is a server with room for few locks, bob with access to the database shop, and root.
func crowded(t *testing.T) (m *Manager, root *session) {
	t.Helper()
	ctx := t.Context()
	req := quietly()
	req.Overrides = datastores.Values{"max_connections": "20", "max_locks_per_transaction": "10", "max_prepared_transactions": "5"}
	m = preparedWith(t, DefaultOptions(), req)
	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
	must(t, m.CreateUser(ctx, datastores.User{Name: "bob", Password: datastores.NewSecret("pass"), Databases: []datastores.Database{{Name: "shop"}}}))
	name, err := m.EnableRoot(ctx, datastores.NewSecret("secret"))
	must(t, err)
	root, err = login(t, m, name, "secret", "shop")
	must(t, err)
	return m, root
}

// refused checks that bob cannot be deleted, for a reason that names what is in the way, and is as he was.
func refused(t *testing.T, m *Manager, reason string) {
	t.Helper()
	err := m.DeleteUser(t.Context(), "bob", "%")
	wantKind(t, err, datastores.Conflict)
	if err == nil || !strings.Contains(err.Error(), reason) {
		t.Errorf("the reason is %q, want %q in it", err, reason)
	}
	if _, err := m.GetUser(t.Context(), "bob", "%"); err != nil {
		t.Errorf("a user that was not deleted is not shown: %v", err)
	}
	if _, err := login(t, m, "bob", "pass", "shop"); err != nil {
		t.Errorf("a user that was not deleted is not let in: %v", err)
	}
}

func TestDeleteAllOrNothing(t *testing.T) {
	m, root := crowded(t)
	ctx := t.Context()
	bob, err := login(t, m, "bob", "pass", "shop")
	must(t, err)
	must(t, bob.exec(ctx, "SET ROLE NONE; CREATE TABLE mine (n serial PRIMARY KEY)"))

	must(t, bob.exec(ctx, "BEGIN; INSERT INTO mine DEFAULT VALUES; PREPARE TRANSACTION 'his'"))
	refused(t, m, "'his'")
	must(t, root.exec(ctx, "ROLLBACK PREPARED 'his'"))

	must(t, root.exec(ctx, "BEGIN; LOCK TABLE public.mine IN ACCESS SHARE MODE"))
	refused(t, m, "of user root uses public.mine")
	must(t, root.exec(ctx, "PREPARE TRANSACTION 'roots'"))
	refused(t, m, "the prepared transaction 'roots' uses public.mine")
	must(t, root.exec(ctx, "ROLLBACK PREPARED 'roots'"))

	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "other"}))
	must(t, m.GrantAccess(ctx, "bob", "%", []string{"other"}))
	elsewhere, err := login(t, m, "bob", "pass", "other")
	must(t, err)
	must(t, elsewhere.exec(ctx, "SET ROLE NONE; CREATE TABLE mine ()"))
	elsewhere.close()
	must(t, root.exec(ctx, "ALTER DATABASE other ALLOW_CONNECTIONS false"))
	refused(t, m, `"other"`)
	must(t, root.exec(ctx, "ALTER DATABASE other ALLOW_CONNECTIONS true"))

	// More tables than the server has locks for are given away all the same.
	bob, err = login(t, m, "bob", "pass", "shop")
	must(t, err)
	must(t, bob.exec(ctx, "SET ROLE NONE"))
	const tables = 1500
	for n := 0; n < tables; n += 100 {
		must(t, bob.exec(ctx, fmt.Sprintf("DO $$ BEGIN FOR n IN %d..%d LOOP EXECUTE format('CREATE TABLE t%%s ()', n); END LOOP; END $$", n, n+99)))
	}
	must(t, m.DeleteUser(ctx, "bob", "%"))
	wantKind(t, m.DeleteUser(ctx, "bob", "%"), datastores.NotFound)
	given, err := root.one(ctx, "SELECT count(*) FROM pg_tables WHERE tableowner = 'os_owner_shop'")
	must(t, err)
	if given.int() != tables+1 {
		t.Errorf("%s tables were given away, want %d", given, tables+1)
	}

	must(t, root.exec(ctx, "CREATE SUBSCRIPTION feed CONNECTION '' PUBLICATION p WITH (connect = false, slot_name = NONE)"))
	must(t, root.exec(ctx, "ALTER DATABASE shop IS_TEMPLATE true"))
	err = m.DeleteDatabase(ctx, "shop")
	wantKind(t, err, datastores.Conflict)
	if err == nil || !strings.Contains(err.Error(), "the subscription feed") || !strings.Contains(err.Error(), "a template") {
		t.Errorf("what is in the way of a database: %v", err)
	}
	must(t, root.exec(ctx, "SELECT 1")) // its sessions go on
	must(t, root.exec(ctx, "DROP SUBSCRIPTION feed"))
	must(t, root.exec(ctx, "ALTER DATABASE shop IS_TEMPLATE false"))
	must(t, m.DeleteDatabase(ctx, "shop"))
}
