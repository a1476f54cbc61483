// Package until is how tests wait for what nothing announces. Inside a testing/synctest bubble time.Sleep does.
package until

import (
	"testing"
	"time"
)

// every is how often it is asked whether something holds.
const every = 5 * time.Millisecond

// True asks again and again until the condition holds. It fails the test when that takes longer than within; what says what was
// waited for, such as "the guest polls".
func True(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	if !Holds(within, holds) {
		t.Fatalf("waited %s in vain until: %s", within, what)
	}
}

// Holds asks again and again until the condition holds, and reports whether it did within that time. It asks once at least.
func Holds(within time.Duration, holds func() bool) bool {
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !holds() {
		select {
		case <-timeout.C:
			return holds()
		case <-tick.C:
		}
	}
	return true
}

// Passed returns after a moment that the test has chosen to strike at. Every moment must do: this is no way to wait for
// something.
func Passed(moment time.Duration) { <-time.After(moment) }
