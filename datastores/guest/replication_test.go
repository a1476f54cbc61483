package guest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
)

func replicaAccount() datastores.ReplicaAccount {
	return datastores.ReplicaAccount{ReplicaID: incremental, User: "replica-1", Password: datastores.NewSecret("r").ForSealing(), Address: elsewhere}
}

// replicaOf makes a replica of b, as the gateway does.
func (b *bench) replicaOf(t *testing.T) *bench {
	t.Helper()
	args := datastores.SnapshotArgs{Account: replicaAccount(), Backup: datastores.BackupArgs{BackupID: full, Key: key, Strategy: "slow"}}
	snapshot := read[datastores.SnapshotResult](t, b.do(t, command(datastores.MethodReplicationSnapshot), args))
	prepare := datastores.PrepareArgs{Replicate: &datastores.ReplicaArgs{
		StrategyArgs: datastores.StrategyArgs{Strategy: "follow"}, SourceID: instance, Address: b.address, Account: replicaAccount(),
	}}
	if b.memory.ReplicaBackup != (snapshot.Backup != nil) {
		t.Fatalf("snapshot: %+v", snapshot)
	}
	if made := snapshot.Backup; made != nil {
		prepare.Restore = restore(made.BackupRef).Restore
		prepare.Replicate.Backup = made.Meta
	}
	r := b.beside(t, elsewhere, `{}`)
	r.do(t, command(datastores.MethodPrepare), prepare)
	return r
}

func (b *bench) position(t *testing.T) datastores.Position {
	t.Helper()
	return read[datastores.Position](t, b.do(t, command(datastores.MethodLatestTxn), nil))
}

func TestReplicaFromPrepareToPromotion(t *testing.T) {
	for _, fromBackup := range []bool{true, false} {
		source := newBench(t)
		source.memory.ReplicaBackup = fromBackup
		replica := source.filled(t, 5).replicaOf(t)
		source.write(t, 5, 10)
		replica.do(t, command(datastores.MethodWaitForTxn), datastores.WaitArgs{Position: source.position(t)})
		replica.wantItems(t, 10)

		at := read[datastores.Position](t, source.do(t, command(datastores.MethodMakeReadOnly), datastores.ReadOnlyArgs{ReadOnly: true}))
		if at != replica.position(t) {
			t.Errorf("the source is at %+v, the replica at %+v", at, replica.position(t))
		}
		if _, err := source.memory.Write(t.Context(), source.login(), 10, 11); err == nil {
			t.Error("a source that was made read-only takes writes")
		}
		back := datastores.ReplicaAccount{ReplicaID: full, User: "replica-2", Password: datastores.NewSecret("q").ForSealing()}
		replica.do(t, command(datastores.MethodEnableAsMaster), datastores.PromoteArgs{Accounts: []datastores.ReplicaAccount{back}})
		replica.write(t, 10, 12)
		source.do(t, command(datastores.MethodAttachReplica), datastores.ReplicaArgs{Address: elsewhere, Account: back, Former: true})
		source.wantItems(t, 12)
		source.wantStatus(t, datastores.StatusHealthy)

		source.do(t, command(datastores.MethodDetachReplica), datastores.StrategyArgs{})
		replica.do(t, command(datastores.MethodCleanupSource), datastores.CleanupArgs{Account: back})
		source.write(t, 12, 13)
		replica.wantItems(t, 12)
	}
}

func TestReplicasAreRefused(t *testing.T) {
	b := newBench(t).prepared(t)
	b.refused(t, command(datastores.MethodLatestTxn), datastores.StrategyArgs{Strategy: "pigeon"}, agentpoll.Invalid)
	b.refused(t, command(datastores.MethodAttachReplica), datastores.ReplicaArgs{StrategyArgs: datastores.StrategyArgs{Strategy: "pigeon"}}, agentpoll.Invalid)
	other := b.beside(t, elsewhere, `{"replication_namespace":"mine"}`)
	prepare := datastores.PrepareArgs{Replicate: &datastores.ReplicaArgs{Address: address}}
	other.refused(t, command(datastores.MethodPrepare), prepare, agentpoll.Invalid)
	other = b.beside(t, elsewhere, `{}`)
	prepare.Databases = databases("shop")
	other.refused(t, command(datastores.MethodPrepare), prepare, agentpoll.Invalid)
	b.do(t, command(datastores.MethodStop), nil)
	b.refused(t, command(datastores.MethodEnableAsMaster), datastores.PromoteArgs{}, agentpoll.Conflict)
}

func TestWaitingLetsOthersWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newBench(t).filled(t, 1)
		replica := source.replicaOf(t)
		release := source.memory.Hold(elsewhere, "following")
		source.write(t, 1, 2)
		waited := make(chan error, 1)
		wait := agent.Command{Method: datastores.MethodWaitForTxn, Deadline: time.Now().Add(3 * time.Minute)}
		position := source.position(t)
		go func() {
			_, err := replica.run(t.Context(), wait, datastores.WaitArgs{Position: position})
			waited <- err
		}()
		for range 10 {
			begun := time.Now()
			replica.do(t, agent.Command{Method: datastores.MethodListUsers, Deadline: begun.Add(15 * time.Second)}, nil)
			if took := time.Since(begun); took > waitSlice {
				t.Errorf("a list took %s", took)
			}
			time.Sleep(5 * time.Second)
		}
		release()
		if err := <-waited; err != nil {
			t.Errorf("wait = %v", err)
		}

		t.Cleanup(source.memory.Hold(elsewhere, "following"))
		source.write(t, 2, 3)
		wait.Deadline = time.Now().Add(time.Minute)
		_, err := replica.run(t.Context(), wait, datastores.WaitArgs{Position: source.position(t)})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait = %v, want its deadline", err)
		}
	})
}

// TestAttachCut ends the guest, or the command, in the middle of an attachment.
func TestAttachCut(t *testing.T) {
	source := newBench(t).filled(t, 5)
	b := source.beside(t, elsewhere, `{}`).prepared(t)
	source.do(t, command(datastores.MethodReplicationSnapshot), datastores.SnapshotArgs{Account: replicaAccount()})
	args := datastores.ReplicaArgs{Address: address, Account: replicaAccount()}
	for name, c := range map[string]struct {
		cause error
		want  datastores.ServiceStatus // after the server has crashed, and a while for the supervisor
	}{
		"by the guest's end": {nil, datastores.StatusShutdown},
		"by the gateway":     {agentpoll.Errorf(agentpoll.Cancelled, "cancelled"), datastores.StatusHealthy},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		release := b.memory.Hold(elsewhere, datastores.MethodAttachReplica)
		cut := agent.Command{Method: datastores.MethodAttachReplica, Progress: func(agentpoll.Progress) { cancel(c.cause) }}
		if _, err := b.run(ctx, cut, args); err == nil {
			t.Fatalf("%s: it was not cut", name)
		}
		release()
		b = b.again(t)
		b.memory.Crash(elsewhere)
		supervised(t, b, func() {
			time.Sleep(time.Minute)
			b.wantStatus(t, c.want)
		})
		b = b.again(t)
		if c.cause == nil {
			b.refused(t, command(datastores.MethodListUsers), nil, agentpoll.Conflict)
			b.do(t, command(datastores.MethodStart), nil) // whoever starts it by hand gives the replica up
			b.do(t, command(datastores.MethodListUsers), nil)
		}
	}
	b.do(t, repeated(datastores.MethodAttachReplica), args)
	b.wantItems(t, 5)
}
