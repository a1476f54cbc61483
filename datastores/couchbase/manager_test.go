package couchbase

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/couchbase/couchbasetest"
	"github.com/cofferdb/coffer/datastores/couchbase/couchbasetest/double"
)

// TestMemory: services get their shares, and no instance is made that is too small for them.
func TestMemory(t *testing.T) {
	for _, c := range []struct {
		memoryMB, data, index int
		fits                  bool
	}{
		{0, 1228, 307, true}, {512, 307, 256, false}, {1024, 614, 256, false}, {2048, 1228, 307, true}, {8192, 4915, 1228, true},
	} {
		m := New(datastores.Env{MemoryMB: c.memoryMB}, DefaultOptions())
		if q := m.quotas(); q[memoryQuota] != c.data || q[indexMemoryQuota] != c.index {
			t.Errorf("%d MB: %v, want %d and %d", c.memoryMB, q, c.data, c.index)
		}
		if err := m.checkMemory(); (err == nil) != c.fits {
			t.Errorf("%d MB: %v", c.memoryMB, err)
		}
	}
	m := New(datastores.Env{MemoryMB: 2048}, DefaultOptions())
	values := datastores.Values{memoryQuota: json.Number("1500")}
	if got := m.configuration(values)[memoryQuota]; got != "1228" {
		t.Errorf("an instance that has become too small for its memoryQuota has %s", got)
	}
	if m.CheckOverrides(t.Context(), values) == nil {
		t.Error("more memory than there is is allowed")
	}
}

// prepared is the manager of a double that runs.
func prepared(t *testing.T) *Manager {
	t.Helper()
	opened, err := Plugin().Open(newEnv(t), optionsOf(t, couchbasetest.Build(t), "7.6"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := opened.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if err := opened.Prepare(t.Context(), datastores.PrepareRequest{Progress: func(string) {}}); err != nil {
		t.Fatal(err)
	}
	return opened.(*Manager)
}

// TestArguments: cbbackupmgr is run with these arguments, and no password is among them.
func TestArguments(t *testing.T) {
	t.Log("NOT TESTED with cbbackupmgr, of which there is none: the program here is a double, which writes down its arguments")
	m := prepared(t)
	var out strings.Builder
	if _, err := m.backup(t.Context(), datastores.BackupRequest{Output: &out, Expect: func(int64) {}}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(m.env.DataDir + "/" + double.ArgvFile)
	if err != nil {
		t.Fatal(err)
	}
	archive := `"--archive","` + m.env.DataDir + `/coffer-backup","--repo","coffer"`
	want := `["config",` + archive + "]\n" + `["backup",` + archive + `,"--cluster","http://` + m.env.Address + `:8091","--no-progress-bar"]` + "\n"
	if string(text) != want {
		t.Errorf("cbbackupmgr was run with\n%swant\n%s", text, want)
	}
	id, err := m.identity()
	if err != nil || strings.Contains(string(text), id.Admin) {
		t.Errorf("the password is among the arguments, or is not known: %v", err)
	}
}

// TestDatabaseAgain: a database that has the name of one that was deleted is another one, which the users of that may not use.
func TestDatabaseAgain(t *testing.T) {
	t.Log("NOT TESTED with a Couchbase Server, of which there is none: the server here is a double, see couchbasetest")
	m := prepared(t)
	shop := datastores.Database{Name: "shop"}
	for _, err := range []error{
		m.CreateDatabase(t.Context(), shop),
		m.CreateDatabase(t.Context(), datastores.Database{Name: "blog"}),
		m.CreateUser(t.Context(), datastores.User{Name: "ann", Password: datastores.NewSecret("pass"), Databases: []datastores.Database{shop, {Name: "blog"}}}),
		m.DeleteDatabase(t.Context(), "shop"),
		m.CreateDatabase(t.Context(), shop),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	got, err := m.ListAccess(t.Context(), "ann", "%")
	if err != nil || len(got) != 1 || got[0].Name != "blog" {
		t.Errorf("ann may use %v, %v; want blog alone", got, err)
	}
}
