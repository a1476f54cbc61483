package server

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestConfigTellsAllProblems(t *testing.T) {
	err := Config{Epoch: "a b", Hold: -1, Expiry: -1, MaxPolls: -1, EnrollRate: -1}.Validate()
	for _, field := range []string{"Backend", "Epoch", "Hold", "Expiry", "MaxPolls", "EnrollRate"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not told of: %v", field, err)
		}
	}
}

func TestMemoryOfStrangersIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newCredentials(nil)
		q := quiet{until: map[string]time.Time{}}
		now := time.Now()
		const strangers = 25_000
		for i := range strangers {
			who := fmt.Sprint(i)
			k.ask(who)
			k.remember(who, "hash", ErrUnauthorized)
			q.add(who, now.Add(time.Minute))
		}
		if len(k.asked) > 0 || len(k.bad) > negativeMax || len(q.until) > quietMax || len(q.order) > quietMax {
			t.Errorf("%d credentials, %d of %d quiet", len(k.bad), len(q.until), len(q.order))
		}
		if !q.has(fmt.Sprint(strangers-1), now) || q.has("0", now) {
			t.Error("not the oldest was evicted")
		}
	})
}

// TestIndexAgainstPlainList compares the index with a list of everything that is pending.
func TestIndexAgainstPlainList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex()
		plain := map[string]map[string]int64{"a": {}, "b": {}}
		for revision := range int64(rapid.IntRange(0, 60).Draw(t, "changes")) {
			agent := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "agent")
			id := rapid.SampledFrom([]string{"1", "2", "3", "4"}).Draw(t, "id")
			if rapid.Bool().Draw(t, "put") {
				x.put(agent, id, revision)
				plain[agent][id] = revision
			} else {
				x.remove(agent, id)
				delete(plain[agent], id)
			}
		}
		after := rapid.Int64Range(-1, 60).Draw(t, "after")
		size := 0
		for agent, pending := range plain {
			size += len(pending)
			newer := false
			for id, revision := range pending {
				newer = newer || revision > after
				if len(x.gone(agent, []string{id}, time.Now())) != 0 {
					t.Errorf("%s is taken for gone", id)
				}
			}
			if x.newer(agent, after) != newer {
				t.Errorf("newer than %d: %t", after, !newer)
			}
			if !slices.IsSortedFunc(x.pending[agent], func(a, b entry) int { return cmp.Compare(a.revision, b.revision) }) {
				t.Errorf("out of order: %v", x.pending[agent])
			}
		}
		if x.size() != size {
			t.Errorf("size %d, want %d", x.size(), size)
		}
	})
}
