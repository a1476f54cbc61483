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

// TestArguments: cbbackupmgr is run with these arguments, and no password is among them.
func TestArguments(t *testing.T) {
	t.Log("NOT TESTED with cbbackupmgr, of which there is none: the program here is a double, which writes down its arguments")
	env := newEnv(t)
	m, err := Plugin().Open(env, optionsOf(t, couchbasetest.Build(t), "7.6"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	progress := func(string) {}
	if err := m.Prepare(t.Context(), datastores.PrepareRequest{Progress: progress}); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if _, err := m.(*Manager).backup(t.Context(), datastores.BackupRequest{Output: &out, Expect: func(int64) {}}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(env.DataDir + "/" + double.ArgvFile)
	if err != nil {
		t.Fatal(err)
	}
	archive := `"--archive","` + env.DataDir + `/coffer-backup","--repo","coffer"`
	want := `["config",` + archive + "]\n" + `["backup",` + archive + `,"--cluster","http://` + env.Address + `:8091","--no-progress-bar"]` + "\n"
	if string(text) != want {
		t.Errorf("cbbackupmgr was run with\n%swant\n%s", text, want)
	}
	id, err := m.(*Manager).identity()
	if err != nil || strings.Contains(string(text), id.Admin) {
		t.Errorf("the password is among the arguments, or is not known: %v", err)
	}
}
