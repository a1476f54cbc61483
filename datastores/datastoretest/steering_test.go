package datastoretest_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest/inmemory"
)

const address = "127.1.2.3"

// inMemory is a prepared server that other packages' tests would steer.
func inMemory(t *testing.T, memory *inmemory.Datastore) everything {
	t.Helper()
	m, err := memory.Plugin().Open(datastores.Env{InstanceID: "i", Dir: t.TempDir(), Address: address}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Prepare(t.Context(), datastores.PrepareRequest{Progress: func(string) {}}); err != nil {
		t.Fatal(err)
	}
	return m.(everything)
}

func TestMemoryFails(t *testing.T) {
	memory := new(inmemory.Datastore)
	m, reason := inMemory(t, memory), errors.New("no room")
	memory.Fail(address, datastores.MethodUpdateOverrides, reason)
	if _, err := m.UpdateOverrides(t.Context(), nil); !errors.Is(err, reason) {
		t.Errorf("update overrides = %v, want %v", err, reason)
	}
	memory.Fail(address, datastores.MethodUpdateOverrides, nil)
	if _, err := m.UpdateOverrides(t.Context(), nil); err != nil {
		t.Errorf("update overrides, when it is not to fail any more: %v", err)
	}
}

// TestMemoryHolds: a backup of the wanted size stops half way until it is released.
func TestMemoryHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := &inmemory.Datastore{BackupBytes: 1 << 20}
		m := inMemory(t, memory)
		release := memory.Hold(address, datastores.MethodCreateBackup)
		var out bytes.Buffer
		done := make(chan error, 1)
		go func() {
			_, err := m.BackupStrategies()[1].Backup(t.Context(), datastores.BackupRequest{Output: &out, Expect: func(int64) {}})
			done <- err
		}()
		time.Sleep(time.Hour) // of the bubble
		synctest.Wait()
		if out.Len() != 1<<19 {
			t.Errorf("a backup that is held has written %d bytes, want half", out.Len())
		}
		release()
		if err := <-done; err != nil || out.Len() < 1<<20 {
			t.Errorf("released it has written %d bytes, %v", out.Len(), err)
		}
	})
}

// TestMemoryHoldsReplicas: what a source has more comes to its replica when that is released.
func TestMemoryHoldsReplicas(t *testing.T) {
	memory, ctx := new(inmemory.Datastore), t.Context()
	source := inMemory(t, memory)
	account := datastores.ReplicaAccount{User: "r", Password: datastores.NewSecret("p")}
	env := datastores.Env{InstanceID: "r", Dir: t.TempDir(), Address: "127.1.2.4"}
	opened, err := memory.Plugin().Open(env, nil)
	if err != nil {
		t.Fatal(err)
	}
	replica := opened.(everything)
	nothing := func(string) {}
	for _, err := range []error{
		source.ReplicationStrategies()[0].Source.AddReplica(ctx, account),
		replica.Prepare(ctx, datastores.PrepareRequest{Progress: nothing, Replicate: &datastores.Replicate{
			Strategy: replica.ReplicationStrategies()[0],
			Request:  datastores.AttachRequest{Address: address, Account: account, Progress: nothing},
		}}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	release := memory.Hold(env.Address, inmemory.Following)
	if err := source.CreateDatabase(ctx, datastores.Database{Name: "shop"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 2} {
		if list, err := replica.ListDatabases(ctx); err != nil || len(list) != want {
			t.Errorf("databases of the replica: %v, %v; want %d", list, err, want)
		}
		release()
	}
}
