package mongodb

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mongodb/mongodbtest"
)

// prepared is a server of the double's that runs until the test ends.
func prepared(t *testing.T, p mongodbtest.Programs, replicate func(*Manager) *datastores.Replicate) *Manager {
	t.Helper()
	var o Options
	if err := json.Unmarshal(optionsOf(t, p, "8.0"), &o); err != nil {
		t.Fatal(err)
	}
	m := New(newEnv(t), o)
	t.Cleanup(func() {
		if err := m.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	req := datastores.PrepareRequest{Progress: func(string) {}}
	if replicate != nil {
		req.Replicate = replicate(m)
	}
	must(t, m.Prepare(t.Context(), req))
	return m
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestFormerSourceHasNoSay: a source that was lost, and comes back again and again, does not take the set back from the replica that was promoted, and
// what only it has is neither lost nor spread before somebody says so. A first source, which never was a replica, is copied anew then.
func TestFormerSourceHasNoSay(t *testing.T) {
	p := mongodbtest.Build(t)
	source := prepared(t, p, nil)
	account := func(of *Manager) datastores.ReplicaAccount {
		return datastores.ReplicaAccount{
			ReplicaID: of.env.InstanceID, User: "replica_" + of.env.InstanceID[:8], Password: datastores.NewSecret("secret of " + of.env.InstanceID), Address: of.env.Address,
		}
	}
	attach := func(m, to *Manager) datastores.AttachRequest {
		return datastores.AttachRequest{SourceID: to.env.InstanceID, Address: to.env.Address, Account: account(m), Progress: func(string) {}}
	}
	replica := prepared(t, p, func(m *Manager) *datastores.Replicate {
		must(t, source.addReplica(t.Context(), account(m)))
		return &datastores.Replicate{Strategy: m.ReplicationStrategies()[0], Request: attach(m, source)}
	})
	must(t, source.Stop(t.Context()))
	must(t, replica.promote(t.Context(), []datastores.ReplicaAccount{account(source)}))
	must(t, replica.CreateDatabase(t.Context(), datastores.Database{Name: "kept"}))
	for range 4 { // each time it elects itself
		must(t, source.Stop(t.Context()))
		must(t, source.Start(t.Context()))
	}
	must(t, source.CreateDatabase(t.Context(), datastores.Database{Name: "own"}))
	if is, err := replica.hello(t.Context()); err != nil || !is.Primary {
		t.Errorf("the promoted replica has become %+v, %v", is, err)
	}
	req := attach(source, replica)
	req.Former, req.Keep = true, true
	if err := source.attach(t.Context(), req); err == nil {
		t.Error("a former source that has what the new one lacks was attached, although that was to be kept")
	}
	list, err := source.ListDatabases(t.Context())
	if err != nil || !has(list, "own") {
		t.Errorf("the former source has %v, %v", list, err)
	}
	req.Keep = false
	must(t, source.attach(t.Context(), req))
	if list, err = source.ListDatabases(t.Context()); err != nil || has(list, "own") || !has(list, "kept") {
		t.Errorf("attached, the former source has %v, %v", list, err)
	}
	if is, err := replica.hello(t.Context()); err != nil || !is.Primary {
		t.Errorf("the promoted replica has become %+v, %v", is, err)
	}
}

func has(list []datastores.Database, name string) bool {
	for _, db := range list {
		if db.Name == name {
			return true
		}
	}
	return false
}
