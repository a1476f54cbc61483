package datastoretest

import (
	"context"
	"slices"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// caller calls a method of one server.
type caller func(t *testing.T, s *server, what string, call func(context.Context, following) error)

// mustAfterCuts is must after calls that were cut, by a new manager.
func (f *fleet) mustAfterCuts(t *testing.T, s *server, what string, call func(context.Context, following) error) {
	t.Helper()
	s.cutSoon(t, func(ctx context.Context) error { return call(ctx, s.replication(t, f.strategy)) })
	f.must(t, s, what+", after it was cut", call)
}

// promote makes a replica the source and the source a replica of it, in the order of the gateway.
func (f *fleet) promote(t *testing.T, candidate *server, call caller) {
	t.Helper()
	former := f.source
	call(t, former, "set read-only", func(ctx context.Context, m following) error {
		return m.Source.SetReadOnly(ctx, true)
	})
	end := f.position(t, former)
	call(t, candidate, "wait", func(ctx context.Context, m following) error { return m.Replica.WaitFor(ctx, end) })
	others := slices.DeleteFunc(slices.Clone(f.replicas), func(s *server) bool { return s == candidate })
	f.crown(t, candidate, append(others, former), call)
	for _, r := range others {
		call(t, r, "attach to the new source", func(ctx context.Context, m following) error {
			return m.Replica.Attach(ctx, f.attach(f.accounts[r]))
		})
	}
	call(t, former, "attach the former source", func(ctx context.Context, m following) error {
		req := f.attach(f.accounts[former])
		req.Former = true
		return m.Replica.Attach(ctx, req)
	})
}

// crown promotes a replica, with accounts for those who are to follow it.
func (f *fleet) crown(t *testing.T, candidate *server, followers []*server, call caller) {
	t.Helper()
	var accounts []datastores.ReplicaAccount
	for _, r := range followers {
		accounts = append(accounts, f.account(r))
	}
	call(t, candidate, "promote", func(ctx context.Context, m following) error {
		return m.Replica.Promote(ctx, accounts)
	})
	f.source, f.replicas = candidate, followers
}

// testPromotion changes the source while tenants write, and loses nothing that was acknowledged.
func testPromotion(t *testing.T, g *stage) {
	f := g.fleet(t)
	f.source.writeEveryKind(t)
	f.settled(t)
	former, from := f.source, f.source.next
	w := former.startWriter(t, false)
	w.wrote(t, former, 5)
	f.promote(t, f.replicas[0], f.must)
	acknowledged := from + w.stop()
	got := f.settled(t)
	if got.items != acknowledged && got.items != acknowledged+1 { // the answer to the last one may have been lost
		t.Errorf("there are %d items, %d were acknowledged", got.items, acknowledged)
	}
	f.source.next = got.items
	f.goesOn(t)
	f.source.writeEveryKind(t)
	f.source.killed(t)
	f.goesOn(t)
	f.allKept(t)
	f.refuses(t, former, former.login)
	again := f.accountsOf(f.replicas)
	f.must(t, f.source, "promote again", func(ctx context.Context, m following) error {
		return m.Replica.Promote(ctx, again)
	})
	f.goesOn(t)
}

func (f *fleet) accountsOf(replicas []*server) (accounts []datastores.ReplicaAccount) {
	for _, r := range replicas {
		accounts = append(accounts, f.accounts[r])
	}
	return accounts
}

// goesOn checks that the source takes writes, which come to all replicas, and that these take none.
func (f *fleet) goesOn(t *testing.T) {
	t.Helper()
	f.source.write(t, someItems)
	f.settled(t)
	for _, r := range f.replicas {
		f.refuses(t, r, r.login)
	}
	f.source.wantSame(t, f.source, f.source.contents(t))
}

// allKept checks that every server has what was acknowledged.
func (f *fleet) allKept(t *testing.T) {
	t.Helper()
	for _, s := range append(slices.Clone(f.replicas), f.source) {
		s.wantKept(t)
	}
}

func testPromotionCutShort(t *testing.T, g *stage) {
	f := g.fleet(t)
	before := f.settled(t)
	f.promote(t, f.replicas[0], f.mustAfterCuts)
	if got := f.settled(t); got != before {
		t.Errorf("after the promotion there is %v, before %v", got, before)
	}
	f.goesOn(t)
}

// testNotFenced loses a source that has what nobody else has, promotes another, and brings the lost one back.
func testNotFenced(t *testing.T, g *stage) {
	f := g.fleet(t)
	before := f.settled(t)
	former, survivors := f.source, slices.Clone(f.replicas)
	for _, r := range survivors {
		r.stop(t)
	}
	former.write(t, someItems)
	former.stop(t)
	for _, r := range survivors {
		r.start(t)
	}
	candidate := survivors[0]
	next := before.items
	f.crown(t, candidate, append(survivors[1:], former), f.must)
	f.replicas = survivors[1:]
	for _, r := range f.replicas {
		f.must(t, r, "attach", func(ctx context.Context, m following) error {
			return m.Replica.Attach(ctx, f.attach(f.accounts[r]))
		})
	}
	if got := f.settled(t); got != before {
		t.Errorf("the new source has %v, want %v", got, before)
	}
	candidate.next = next
	f.goesOn(t)

	former.manager = former.open(t)
	former.start(t)
	req := f.attach(f.accounts[former])
	req.Former = true
	err := former.replication(t, f.strategy).Replica.Attach(former.within(t), req)
	switch {
	case g.Diverges == "" && err != nil:
		t.Errorf("a former source with items of its own cannot be attached: %v (if that cannot be helped, say why in Diverges)", err)
	case g.Diverges != "" && err == nil:
		t.Errorf("the harness says that a former source cannot come back (%s), and it has", g.Diverges)
	case g.Diverges != "":
		t.Logf("a former source does not come back: %s: %v", g.Diverges, err)
	default:
		f.replicas = append(f.replicas, former)
	}
	if err != nil {
		former.stop(t)
	}
	f.goesOn(t)
	f.allKept(t)
}

// neverThere waits for a while for a position that the replica cannot come to, since its source is ahead and it does not run.
func (f *fleet) neverThere(t *testing.T, r *server) error {
	t.Helper()
	r.stop(t)
	f.source.write(t, 1)
	ahead := f.position(t, f.source)
	defer func() {
		r.start(t)
		f.settled(t)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), cuts()[len(cuts())-1])
	defer cancel()
	return r.replication(t, f.strategy).Replica.WaitFor(ctx, ahead)
}
