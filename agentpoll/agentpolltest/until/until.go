// Package until is how tests wait for what nothing announces. Inside a testing/synctest bubble time.Sleep does.
package until

import (
	"testing"
	"time"
)

const (
	soonest = 5 * time.Millisecond
	latest  = 100 * time.Millisecond
)

// True asks again and again until the condition holds. It fails the test when that takes longer than within; what says what was
// waited for, such as "the guest polls".
func True(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	want(t, within, what, Holds(within, holds))
}

// Holds asks again and again until the condition holds, and reports whether it did within that time. It asks once at least, and more and
// more seldom: a test does not take the processor from what it waits for, and waits a tenth longer than it must at most.
func Holds(within time.Duration, holds func() bool) bool {
	return asking(within, holds, func(waited time.Duration) time.Duration { return min(max(waited/10, soonest), latest) })
}

// Promptly is [True] for a time that is measured: it asks as often as it can without being a load.
func Promptly(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	want(t, within, what, asking(within, holds, func(time.Duration) time.Duration { return soonest }))
}

func want(t testing.TB, within time.Duration, what string, held bool) {
	t.Helper()
	if !held {
		t.Fatalf("waited %s in vain until: %s", within, what)
	}
}

func asking(within time.Duration, holds func() bool, pause func(waited time.Duration) time.Duration) bool {
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	begun := time.Now()
	for !holds() {
		select {
		case <-timeout.C:
			return holds()
		case <-time.After(pause(time.Since(begun))):
		}
	}
	return true
}

// Passed returns after a moment that the test has chosen to strike at. Every moment must do: this is no way to wait for
// something.
func Passed(moment time.Duration) { <-time.After(moment) }
