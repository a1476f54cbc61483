package datastoretest

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// following is how the servers of a fleet follow each other.
type following = datastores.ReplicationStrategy

// fleet is a source and its replicas. A test that changes who is who leaves a source that is followed by the others.
type fleet struct {
	strategy datastores.StrategyName
	source   *server
	replicas []*server
	accounts map[*server]datastores.ReplicaAccount // of a replica, on its source
}

// fleet returns that of the strategy of the moment, with one replica at least.
func (g *stage) fleet(t *testing.T) *fleet {
	t.Helper()
	f := g.fleets[g.strategy]
	if f == nil {
		f = &fleet{strategy: g.strategy, accounts: map[*server]datastores.ReplicaAccount{}}
		g.fleets[g.strategy] = f
		f.source = prepared(t, g.t, g.Harness)
		f.source.keeper(t)
		f.add(t, g)
	}
	if len(f.replicas) == 0 {
		t.Fatal("there is no replica: what made one has failed")
	}
	return f
}

// add makes a new replica as the guest runtime does.
func (f *fleet) add(t *testing.T, g *stage) *server {
	t.Helper()
	r := newServer(t, g.t, g.Harness)
	account := f.account(r)
	f.must(t, f.source, "add replica", func(ctx context.Context, m following) error {
		return m.Source.AddReplica(ctx, account)
	})
	r.must(t, "prepare a replica", r.prepareWith(t, f.prepareRequest(t, r, account)))
	r.inherit(f.source)
	f.replicas = append(f.replicas, r)
	return r
}

// prepareRequest asks for a new replica of the source, with the backup that its strategy starts from.
func (f *fleet) prepareRequest(t *testing.T, r *server, account datastores.ReplicaAccount) datastores.PrepareRequest {
	t.Helper()
	strategy := r.replication(t, f.strategy)
	req := datastores.PrepareRequest{Progress: func(string) {}, Replicate: &datastores.Replicate{Strategy: strategy, Request: f.attach(account)}}
	if name := strategy.StartsFrom; !name.IsZero() {
		b := f.source.backup(t, name, nil)
		req.Replicate.Request.Backup = b.meta
		req.Restore = &datastores.Restore{Strategy: r.backupStrategy(t, name), Request: datastores.RestoreRequest{
			Chain: []datastores.BackupLink{b.link()}, Progress: req.Progress,
		}}
	}
	return req
}

// account is a new one for a replica.
func (f *fleet) account(r *server) datastores.ReplicaAccount {
	id := r.env.InstanceID
	a := datastores.ReplicaAccount{ReplicaID: id, User: "replica_" + id[:8], Password: datastores.NewSecret(newID()[:30] + "'x"), Address: r.env.Address}
	f.accounts[r] = a
	return a
}

func (f *fleet) attach(account datastores.ReplicaAccount) datastores.AttachRequest {
	return datastores.AttachRequest{
		SourceID: f.source.env.InstanceID, Address: f.source.env.Address, Account: account, Progress: func(string) {},
	}
}

// replication is the strategy of that name, of the manager of the moment.
func (s *server) replication(t *testing.T, name datastores.StrategyName) datastores.ReplicationStrategy {
	t.Helper()
	all := s.manager.(datastores.Replication).ReplicationStrategies()
	strategy, err := datastores.ChooseStrategy(all, name.Namespace, name.Name)
	s.must(t, "strategy", err)
	return strategy
}

// must calls a method of one server.
func (f *fleet) must(t *testing.T, s *server, what string, call func(context.Context, following) error) {
	t.Helper()
	s.must(t, what, call(s.within(t), s.replication(t, f.strategy)))
}

// settled waits until every replica has what the source has.
func (f *fleet) settled(t *testing.T) contents {
	t.Helper()
	want := f.source.contents(t)
	for _, r := range f.replicas {
		r.login.Password, r.next, r.rounds = f.source.login.Password, f.source.next, f.source.rounds
		r.eventually(t, func() (bool, string) {
			items, digest, err := r.Digest(r.within(t), r.login)
			got := contents{items, digest}
			return err == nil && got == want, "the replica does not come to what its source has: it has " + got.String() + " of " + want.String()
		})
	}
	return want
}

// refuses checks that a tenant cannot write, and that nothing was written.
func (f *fleet) refuses(t *testing.T, s *server, login Login) {
	t.Helper()
	before := s.contents(t)
	if acknowledged, err := s.Write(s.within(t), login, s.next, s.next+1); err == nil || acknowledged > 0 {
		t.Errorf("%q writes to a server that is read-only: %d items, %v", login.User, acknowledged, err)
	}
	if after := s.contents(t); after != before {
		t.Errorf("a server that is read-only has %v, had %v", after, before)
	}
}

func testReplica(t *testing.T, g *stage) {
	f := g.fleet(t)
	want := f.settled(t)
	f.source.write(t, someItems)
	f.source.writeEveryKind(t)
	if got := f.settled(t); got.items != want.items+someItems {
		t.Errorf("%d items, want %d", got.items, want.items+someItems)
	}
	r := f.replicas[0]
	r.wantSame(t, f.source, f.source.contents(t))
	r.wantStatus(t, datastores.StatusHealthy)
	at, of := f.position(t, r), f.position(t, f.source)
	if at.Count == 0 || at.Count > of.Count {
		t.Errorf("the replica is at %+v, its source at %+v", at, of)
	}
	for range 2 {
		f.must(t, r, "wait", func(ctx context.Context, m following) error { return m.Replica.WaitFor(ctx, of) })
	}
	f.source.write(t, 1)
	if then := f.position(t, f.source); then.Count <= of.Count {
		t.Errorf("with one more item the source is at %+v, it was at %+v", then, of)
	}
	if err := f.neverThere(t, r); err == nil {
		t.Error("a position that is not reached was waited for without an error")
	}
}

func testReplicaRefusesTenants(t *testing.T, g *stage) {
	f := g.fleet(t)
	for _, r := range f.replicas {
		f.refuses(t, r, r.login)
	}
}

func testReplicaRefusesRoot(t *testing.T, g *stage) {
	f := g.fleet(t)
	if f.source.root == "" {
		t.Skip("the datastore has no root: not tested")
	}
	for _, r := range f.replicas {
		f.refusesRoot(t, r)
	}
}

// refusesRoot is refuses for root, when there is one.
func (f *fleet) refusesRoot(t *testing.T, s *server) {
	t.Helper()
	if s.root != "" {
		login := s.login
		login.User, login.Password = s.root, rootPassword
		f.refuses(t, s, login)
	}
}

// testReplicaRestarts restarts the replica, then the source; either goes on by itself.
func testReplicaRestarts(t *testing.T, g *stage) {
	f := g.fleet(t)
	r := f.replicas[0]
	r.stop(t)
	f.source.write(t, someItems)
	f.source.writeEveryKind(t)
	r.manager = r.open(t)
	r.start(t)
	f.settled(t)
	r.wantKept(t)
	f.refuses(t, r, r.login)
	f.source.restart(t)
	f.source.write(t, someItems)
	f.settled(t)
	f.source.stop(t)
	r.restart(t) // must come up without its source
	r.wantStatus(t, datastores.StatusHealthy)
	r.wantKept(t)
	f.refuses(t, r, r.login)
	f.source.start(t)
	f.source.write(t, 1)
	f.settled(t)
	if r.Kill == nil {
		return
	}
	r.must(t, "kill the replica", r.Kill(r.within(t), r.env))
	f.source.write(t, 1)
	f.source.writeEveryKind(t)
	r.manager = r.open(t)
	r.start(t)
	f.settled(t)
	r.wantKept(t)
	f.refuses(t, r, r.login)
}

// testSecondReplica makes another replica while tenants write.
func testSecondReplica(t *testing.T, g *stage) {
	f := g.fleet(t)
	w := f.source.startWriter(t, false)
	w.wrote(t, f.source, 2)
	f.add(t, g)
	w.wrote(t, f.source, 2)
	f.source.next += w.stop()
	f.settled(t)
}

// testReadOnlySource: what is acknowledged is within the position, and nothing more comes until it is told otherwise.
func testReadOnlySource(t *testing.T, g *stage) {
	f := g.fleet(t)
	readOnly := func(on bool) {
		for range 2 {
			f.must(t, f.source, "set read-only", func(ctx context.Context, m following) error {
				return m.Source.SetReadOnly(ctx, on)
			})
		}
	}
	f.source.writeEveryKind(t)
	readOnly(true)
	f.refuses(t, f.source, f.source.login)
	f.complete(t)
	f.source.restart(t)
	f.source.wantKept(t)
	f.refuses(t, f.source, f.source.login)
	f.complete(t)
	if f.source.killed(t) {
		f.refuses(t, f.source, f.source.login)
		f.refusesRoot(t, f.source)
	}
	readOnly(false)
	f.source.write(t, 1)
	f.settled(t)
}

// complete checks that a replica that has come to the position of a source that is read-only has all of it.
func (f *fleet) complete(t *testing.T) {
	t.Helper()
	end := f.position(t, f.source)
	for _, r := range f.replicas {
		f.must(t, r, "wait", func(ctx context.Context, m following) error { return m.Replica.WaitFor(ctx, end) })
		if got, want := r.contents(t), f.source.contents(t); got != want {
			t.Errorf("at %+v a replica has %v, its source %v", end, got, want)
		}
	}
}

// testReplicationTwice calls each method again, as is done after a crash, and those of which there is nothing to do.
func testReplicationTwice(t *testing.T, g *stage) {
	f := g.fleet(t)
	r := f.replicas[0]
	account := f.account(r) // a new password
	for range 2 {
		f.must(t, f.source, "add replica", func(ctx context.Context, m following) error {
			return m.Source.AddReplica(ctx, account)
		})
	}
	for range 2 {
		f.must(t, r, "attach", func(ctx context.Context, m following) error {
			return m.Replica.Attach(ctx, f.attach(account))
		})
	}
	unknown := datastores.ReplicaAccount{ReplicaID: newID(), User: "replica_unknown", Address: "127.9.9.9"}
	f.must(t, f.source, "remove an unknown replica", func(ctx context.Context, m following) error {
		return m.Source.RemoveReplica(ctx, unknown)
	})
	f.must(t, f.source, "detach a source", func(ctx context.Context, m following) error { return m.Replica.Detach(ctx) })
	f.source.write(t, someItems)
	f.settled(t)
	f.refuses(t, r, r.login)
}

// testDetach makes the last replica independent.
func testDetach(t *testing.T, g *stage) {
	f := g.fleet(t)
	f.settled(t)
	r := f.replicas[len(f.replicas)-1]
	r.cutSoon(t, func(ctx context.Context) error { return r.replication(t, f.strategy).Replica.Detach(ctx) })
	for range 2 {
		f.must(t, r, "detach", func(ctx context.Context, m following) error { return m.Replica.Detach(ctx) })
	}
	f.replicas = slices.DeleteFunc(f.replicas, func(s *server) bool { return s == r })
	for range 2 {
		f.must(t, f.source, "remove replica", func(ctx context.Context, m following) error {
			account := f.accounts[r]
			account.Password = datastores.Secret{}
			return m.Source.RemoveReplica(ctx, account)
		})
	}
	before := f.source.contents(t)
	r.write(t, someItems)
	r.writeEveryKind(t)
	alone := r.contents(t)
	if got := f.source.contents(t); got != before {
		t.Errorf("what was written to a detached server is on the source: %v, before %v", got, before)
	}
	f.source.write(t, 1)
	f.settled(t)
	r.restart(t)
	if got := r.contents(t); got != alone {
		t.Errorf("a detached server has %v, had %v", got, alone)
	}
	r.wantKept(t)
	r.write(t, 1)
	r.stop(t)
}

func (f *fleet) position(t *testing.T, s *server) (p datastores.Position) {
	t.Helper()
	f.must(t, s, "position", func(ctx context.Context, m following) (err error) {
		p, err = m.Position(ctx)
		return err
	})
	if _, err := json.Marshal(p); err != nil || p.ID == "" {
		t.Errorf("position %+v", p)
	}
	return p
}
