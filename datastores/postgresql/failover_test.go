package postgresql

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// candidateOf names a server as a candidate.
func candidateOf(m *Manager) datastores.ReplicaAccount {
	return datastores.ReplicaAccount{ReplicaID: m.env.InstanceID, User: "slave_1"}
}

// acknowledged reports whether a row is acknowledged within a second.
func acknowledged(t *testing.T, m *Manager, n int) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	s, err := login(t, m, "bob", "pass", "shop")
	must(t, err)
	return s.exec(ctx, fmt.Sprintf("INSERT INTO public.items VALUES (%d)", n)) == nil
}

// A source with candidates acknowledges nothing that none of them has: not after all were fenced, not after it was killed and started again,
// not when a replica follows that is none. What it has acknowledged the one has that came furthest.
func TestFailover(t *testing.T) {
	ctx := t.Context()
	source := prepared(t)
	must(t, source.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
	must(t, source.CreateUser(ctx, datastores.User{Name: "bob", Password: datastores.NewSecret("pass"), Databases: []datastores.Database{{Name: "shop"}}}))
	a, b := replicaOf(t, source), replicaOf(t, source)
	failover := func(m *Manager) *datastores.Failover { return m.ReplicationStrategies()[0].Failover }
	s, err := login(t, source, "bob", "pass", "shop")
	must(t, err)
	must(t, s.exec(ctx, "CREATE TABLE public.items (n int PRIMARY KEY)"))

	armed := datastores.Await{Count: 1, Candidates: []datastores.ReplicaAccount{candidateOf(a)}}
	_, err = failover(source).Await(ctx, datastores.Await{Count: 2, Candidates: armed.Candidates})
	wantKind(t, err, datastores.Invalid)
	_, err = failover(source).Await(ctx, armed)
	must(t, err)
	if !acknowledged(t, source, 1) {
		t.Error("a commit is not acknowledged that a candidate has")
	}
	first, err := failover(a).Stand(ctx, true)
	must(t, err)
	if acknowledged(t, source, 2) {
		t.Error("a commit is acknowledged that only a replica has which is no candidate")
	}
	must(t, a.Stop(ctx))
	must(t, a.Start(ctx)) // it is fenced still
	armed.Candidates = append(armed.Candidates, candidateOf(b))
	_, err = failover(source).Await(ctx, armed)
	must(t, err)
	if !acknowledged(t, source, 3) {
		t.Error("a commit is not acknowledged that the other candidate has")
	}
	second, err := failover(b).Stand(ctx, true)
	must(t, err)
	again, err := failover(a).Stand(ctx, true)
	must(t, err)
	if again.Count < first.Count || second.Count <= again.Count {
		t.Errorf("the fenced ones have come to %v, then %v, and %v", first, again, second)
	}
	if acknowledged(t, source, 4) {
		t.Error("a commit is acknowledged when all candidates are fenced")
	}
	pid, _, _ := source.service.Running()
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	source = newManager(t, source.env, source.options)
	must(t, source.Stop(ctx))
	must(t, source.Start(ctx))
	if acknowledged(t, source, 5) {
		t.Error("a source that was killed acknowledges a commit when it is back")
	}

	_, err = failover(b).Await(ctx, datastores.Await{Count: 1, Candidates: []datastores.ReplicaAccount{candidateOf(a)}})
	must(t, err)
	account := datastores.ReplicaAccount{ReplicaID: a.env.InstanceID, User: "slave_1", Password: datastores.NewSecret("other")}
	old := datastores.ReplicaAccount{ReplicaID: source.env.InstanceID, User: "slave_2", Password: datastores.NewSecret("other")}
	must(t, b.ReplicationStrategies()[0].Replica.Promote(ctx, []datastores.ReplicaAccount{account, old}))
	if acknowledged(t, b, 6) {
		t.Error("the new source acknowledges a commit that its candidate has not")
	}
	for m, account := range map[*Manager]datastores.ReplicaAccount{a: account, source: old} {
		must(t, m.ReplicationStrategies()[0].Replica.Attach(ctx, datastores.AttachRequest{
			SourceID: b.env.InstanceID, Address: b.env.Address, Account: account, Former: m == source, Progress: func(string) {},
		}))
	}
	if !acknowledged(t, b, 7) {
		t.Error("the new source does not acknowledge a commit that its candidate has")
	}
	s, err = login(t, b, "bob", "pass", "shop")
	must(t, err)
	rows, err := s.column(ctx, "SELECT n::text FROM public.items ORDER BY n")
	must(t, err)
	has := map[string]bool{}
	for _, n := range rows {
		has[fmt.Sprint(n)] = true
	}
	for _, n := range []string{"1", "3", "7"} {
		if !has[n] {
			t.Errorf("row %s was acknowledged, and the new source has %v", n, rows)
		}
	}
	comesTo(t, a, b)
	comesTo(t, source, b)
	if has["4"] || has["5"] {
		t.Errorf("what nobody acknowledged is there: %v", rows)
	}
	_, err = failover(source).Stand(ctx, false)
	must(t, err)
	_, err = failover(b).Await(ctx, datastores.Await{})
	must(t, err)
}
