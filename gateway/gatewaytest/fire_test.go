package gatewaytest_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
)

// TestFailoverUnderFire has clients write to a set whose source can be replaced while faults happen, one after the other: first its machine loses its power, then
// whatever chance draws. After each fault it goes on, without a person: somebody takes writes, and the source has two candidates again. In the end every member has
// all that was acknowledged, and nobody was told what one server alone would not have said.
func TestFailoverUnderFire(t *testing.T) {
	t.Parallel()
	p := programs(t)
	rounds, seed := int(number(t, "COFFER_FIRE_FAULTS", 3)), number(t, "COFFER_CHAOS_SEED", rand.Uint64()>>1)
	t.Logf("%d faults; COFFER_CHAOS_SEED=%d draws the same again", rounds, seed)
	for i, d := range []datastore{postgresqlStore, mariadbStore} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			n := threeGateways(t, p)
			f := newTrio(t, d, p, n)
			var round atomic.Int64
			r := &registers{trio: f, round: func() int { return int(round.Load()) }}
			b := &battle{registers: r, plane: n, chance: rand.New(rand.NewPCG(seed, uint64(i)))}
			f.automatic()
			r.create(f.logins[0])
			ctx, cancel := context.WithCancel(t.Context())
			wait := f.clients(ctx, r.session)
			defer func() { cancel(); wait() }()
			f.awaitWrites("before")
			var longest []time.Duration
			for k, what := range b.draw(rounds) {
				round.Store(int64(k))
				lasts := 5*time.Second + part(b.chance, 25*time.Second)
				if k == 0 {
					lasts = 30 * time.Second // a replica takes its place
				}
				longest = append(longest, b.survive(what, lasts))
			}
			cancel()
			wait()
			f.wantAll()
			r.wantOneServer()
			slices.Sort(longest)
			count, _ := f.acknowledged()
			t.Logf("%s: %d faults, %d writes acknowledged, %d operations on registers; the longest time without a write at a fault: median %v, worst %v", d,
				rounds, count, len(r.history), longest[len(longest)/2], longest[len(longest)-1])
		})
	}
}

// draw is the first fault, and then others: none comes again before all have come.
func (b *battle) draw(rounds int) (all []fault) {
	table := faults()
	all = slices.Clone(table[:1])
	for rest := table[1:]; len(all) < rounds; rest = table {
		for _, i := range b.chance.Perm(len(rest)) {
			all = append(all, rest[i])
		}
	}
	return all[:rounds]
}

// survive lets one fault happen for so long, and waits until all is as it should be. It returns the longest time in which nobody's write was acknowledged.
func (b *battle) survive(what fault, lasts time.Duration) time.Duration {
	b.Helper()
	begun, source := time.Now(), b.source()
	heal := what.begin(b, source)
	until.Passed(lasts)
	heal()
	b.awaitWrites(what.name)
	b.awaitArmed(2)
	longest := b.longestSince(begun)
	b.Logf("%s for member %d: the source is member %d after %v; the longest time without a write was %v", what.name, source, b.source(),
		time.Since(begun).Round(time.Second), longest.Round(10*time.Millisecond))
	return longest.Round(10 * time.Millisecond)
}

// longestSince is the longest time between two acknowledgements since then.
func (f *trio) longestSince(begun time.Time) (longest time.Duration) {
	last := begun
	for _, a := range f.inOrder() {
		if a.at.After(begun) {
			longest, last = max(longest, a.at.Sub(last)), a.at
		}
	}
	return longest
}
