package rate

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestLimiterKeepsItsRate checks that over any time no caller gets more than the burst and the rate allow, and that who waits as
// long as was said gets what was asked for.
func TestLimiterKeepsItsRate(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		waits := rapid.SliceOfN(rapid.IntRange(0, 2000), 1, 50).Draw(r, "milliseconds between calls")
		n := float64(rapid.IntRange(1, 5).Draw(r, "tokens of a call"))
		synctest.Test(t, func(t *testing.T) {
			l := New(2, 5)
			begin, taken := time.Now(), 0.0
			var wait time.Duration
			for _, ms := range waits {
				time.Sleep(time.Duration(ms) * time.Millisecond)
				if wait = l.Take("x", n); wait == 0 {
					taken += n
				}
			}
			if limit := 5 + 2*time.Since(begin).Seconds(); taken > limit {
				t.Errorf("%f taken, %f allowed", taken, limit)
			}
			time.Sleep(wait)
			if again := l.Take("x", n); wait > 0 && again > time.Microsecond {
				t.Errorf("waited %s as told, and is to wait %s more", wait, again)
			}
		})
	})
}

func TestMemoryOfCallersIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(1, 2)
		for i := range 3 * most {
			if wait := l.Take(fmt.Sprint(i), 1); wait > 0 {
				t.Fatalf("caller %d is to wait %s", i, wait)
			}
		}
		if len(l.buckets) > most {
			t.Errorf("%d buckets", len(l.buckets))
		}
	})
}

func TestMoreThanABucketCostsAFullOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(1, 2)
		if wait := l.Take("x", 100); wait > 0 {
			t.Errorf("a full bucket refuses, for %s", wait)
		}
		if wait := l.Take("x", 100); wait != 2*time.Second {
			t.Errorf("the next is to wait %s", wait)
		}
	})
}
