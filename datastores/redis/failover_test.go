package redis

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
)

// writes has a client write keys to a source, one after the other, until that refuses one, and returns when each was acknowledged.
func writes(t *testing.T, m *Manager) (acknowledged func() map[string]time.Time) {
	t.Helper()
	c, told := client(t, m, rootName, rootPassword), make(chan map[string]time.Time, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	go func() {
		all := map[string]time.Time{}
		for n := 0; ; n++ {
			key := fmt.Sprint("written ", n)
			if c.Set(ctx, key, "v", 0).Err() != nil {
				told <- all
				return
			}
			all[key] = time.Now()
			until.Passed(time.Millisecond)
		}
	}()
	return func() map[string]time.Time { return <-told }
}

// refuses expects that a server takes no write because of the replicas that it does not hear of.
func refuses(t *testing.T, m *Manager, when string) {
	t.Helper()
	err := client(t, m, rootName, rootPassword).Set(t.Context(), "refused", "v", 0).Err()
	if err == nil || !strings.HasPrefix(err.Error(), "NOREPLICAS") {
		t.Errorf("%s the server answers a write with %v", when, err)
	}
}

// TestFailover fences the replicas of a source under writes: when all have voted it takes none any more, not after it was killed and started
// again either. What it acknowledged until the last one was fenced is there in the one that has come furthest.
func TestFailover(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		ctx := t.Context()
		source := started(t, o, datastores.PrepareRequest{})
		open(t, source)
		a, b := replicaOf(t, source, 1), replicaOf(t, source, 2)
		failover := func(m *Manager) *datastores.Failover { return m.ReplicationStrategies()[0].Failover }
		await := func(m *Manager, count int, of ...int) error {
			on := datastores.Await{Count: count}
			for n := range 4 {
				account := accountOf(n)
				account.Password = datastores.Secret{}
				if slices.Contains(of, n) {
					on.Candidates = append(on.Candidates, account)
				} else {
					on.Ceased = append(on.Ceased, account)
				}
			}
			_, err := failover(m).Await(ctx, on)
			return err
		}
		wantKind(t, "more than there are", await(source, 3, 1, 2), datastores.Invalid)
		must(t, await(source, 1, 1, 2))
		for _, m := range []*Manager{a, b} {
			_, err := failover(m).Stand(ctx, false)
			must(t, err)
		}
		fill(t, source, 0, 10)
		level, err := source.position(ctx)
		must(t, err)
		for _, m := range []*Manager{a, b} {
			must(t, m.waitFor(ctx, level))
		}

		acknowledged := writes(t, source)
		votes := make(chan datastores.Position, 2)
		fenced := time.Now()
		for _, m := range []*Manager{a, b} {
			go func() {
				p, err := failover(m).Stand(ctx, true)
				if err != nil {
					t.Error(err)
				}
				votes <- p
			}()
		}
		first, second := <-votes, <-votes
		refuses(t, source, "when all candidates have voted")
		if first.History == "" || first.History != second.History {
			t.Errorf("the candidates have %+v and %+v", first, second)
		}
		written := acknowledged()
		must(t, a.Stop(ctx))
		must(t, a.Start(ctx)) // it is fenced still, and keeps its word
		if again, err := failover(a).Stand(ctx, true); err != nil || again != first && again != second {
			t.Errorf("started again the candidate votes with %+v, %v", again, err)
		}
		pid, _, _ := source.service.Running()
		must(t, syscall.Kill(pid, syscall.SIGKILL))
		source = New(source.env, o)
		must(t, source.Stop(ctx))
		must(t, source.Start(ctx))
		refuses(t, source, "killed and started again")

		must(t, await(b, 1, 1))
		must(t, b.promote(ctx, []datastores.ReplicaAccount{accountOf(1), accountOf(3)}))
		refuses(t, b, "before its candidate follows it")
		must(t, a.attach(ctx, attachTo(b, accountOf(1))))
		soon(t, "the new source takes writes", func() bool {
			return client(t, b, rootName, rootPassword).Set(ctx, "taken", "v", 0).Err() == nil
		})
		c := client(t, b, rootName, rootPassword)
		lost, last := 0, fenced
		for key, at := range written {
			switch n, err := c.Exists(ctx, key).Result(); {
			case err != nil:
				t.Fatal(err)
			case n == 0 && fenced.Sub(at) > bound:
				t.Errorf("%q, acknowledged %v before the candidates were fenced, is missing", key, fenced.Sub(at))
			case n == 0:
				lost++
				if at.After(last) {
					last = at
				}
			}
		}
		if isolated := last.Sub(fenced); isolated > bound+2*time.Second {
			t.Errorf("a source without candidates acknowledged for %v", isolated)
		}
		t.Logf("%d writes acknowledged, %d of them lost, of the %v after the candidates were fenced", len(written), lost, last.Sub(fenced).Round(time.Millisecond))

		back := attachTo(b, accountOf(3))
		back.Former = true
		wantKind(t, "a source that has what the new one lacks", source.attach(ctx, back), datastores.Conflict)
		if err := client(t, source, rootName, rootPassword).Set(ctx, "refused", "v", 0).Err(); err == nil {
			t.Error("the old source takes writes")
		}
		_, err = failover(b).Await(ctx, datastores.Await{})
		must(t, err)
		must(t, a.Stop(ctx))
		fill(t, b, 20, 30)
	})
}
