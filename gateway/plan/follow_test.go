package plan

import (
	"crypto/ecdh"
	"crypto/rand"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/keyring"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// A set that has a replica follow again, by no event of that replica's, asks the source for an account of it, and nobody else.
func TestASetHasAReplicaFollowAgain(t *testing.T) {
	const project = "p"
	source, replica := "00000000-0000-0000-0000-0000000000aa", "00000000-0000-0000-0000-0000000000bb"
	now := time.Now().UTC()
	set := etcdschema.Set{
		ID: source, Project: project, Kind: etcdschema.SetReplication, Created: now,
		Members:  []etcdschema.SetMember{{ID: source, Role: etcdschema.RoleSource, Address: "10.0.0.1"}, {ID: replica, Role: etcdschema.RoleReplica, Address: "10.0.0.2"}},
		Failover: &etcdschema.Failover{Acks: 1, Grace: 30},
	}
	secret, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ops := []etcdschema.Op{
		etcdschema.Put(etcdschema.SetKey(project, set.ID), set),
		etcdschema.Put(etcdschema.AgentKey(source), etcdschema.Agent{ID: source, Kind: agentpoll.Guest, PublicKey: secret.PublicKey().Bytes()}),
	}
	for _, m := range set.Members {
		in := etcdschema.Instance{ID: m.ID, Project: project, SetID: set.ID, Prepared: true, Host: "h", Address: m.Address, Created: now}
		in.Service.Service = datastores.StatusHealthy
		if m.Role == etcdschema.RoleReplica {
			in.Service.Replication = &datastores.Following{Role: datastores.RoleReplica, Since: now.Add(-time.Hour)}
		}
		ops = append(ops, etcdschema.Put(etcdschema.InstanceKey(project, m.ID), in))
	}
	keys, err := keyring.Parse(keyring.NewLine())
	if err != nil {
		t.Fatal(err)
	}
	signer, err := NewSigner(secret, nil)
	if err != nil {
		t.Fatal(err)
	}
	store := etcdtest.New(t)
	if _, err := store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) { return ops, nil }); err != nil {
		t.Fatal(err)
	}
	var command etcdschema.Command
	if _, err := store.Update(t.Context(), nil, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		moves, err := New(keys, signer, now, s, lifecycle.Member{Set: set}, lifecycle.Event{Type: lifecycle.AskFailover}).Decide()
		if err != nil {
			return nil, err
		}
		after := s.After(moves.Ops...)
		in, err := etcdschema.Read(after, etcdschema.InstanceKey(project, replica))
		if err != nil {
			return nil, err
		}
		op := in.Value.Operation
		if op == nil || lifecycle.StepOf(in.Value) != lifecycle.Admitting || op.Agent != source {
			t.Fatalf("the replica's operation is %+v", op)
		}
		sealed, err := etcdschema.Read(after, etcdschema.CommandKey(source, op.Command))
		if err != nil {
			return nil, err
		}
		command = sealed.Value
		waits, err := unsealPrepare(keys, in.Value)
		if err == nil && (waits.Replicate == nil || waits.Replicate.Account.ReplicaID != replica || waits.Replicate.Address != "10.0.0.1") {
			t.Errorf("what waits for the replica is %+v", waits.Replicate)
		}
		return moves.Ops, err
	}); err != nil {
		t.Fatal(err)
	}
	if command.Method != datastores.MethodReplicationSnapshot || command.Instance != replica || len(command.Sealed) == 0 {
		t.Errorf("the source is told %+v", command)
	}
}
