package gatewaytest

import (
	"testing"
	"time"
)

// Until asks again and again, until the condition holds. It fails the test when that takes longer than within.
func Until(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	timeout := time.After(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-timeout:
			t.Fatalf("%s: not within %s", what, within)
		case <-tick.C:
		}
	}
}
