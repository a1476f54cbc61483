package datastoretest

import (
	"slices"
	"testing"
)

// TestResultsInside: what a test has skipped in an image is told outside, with its reason.
func TestResultsInside(t *testing.T) {
	got := resultsInside("TestAll", `=== RUN   TestAll
=== RUN   TestAll/redis-7.0
=== RUN   TestAll/redis-7.0/backup
=== RUN   TestAll/valkey-8.1
    servers_test.go:40: NOT TESTED: there is no valkey-server
--- PASS: TestAll (1.20s)
    --- PASS: TestAll/redis-7.0 (1.20s)
        --- PASS: TestAll/redis-7.0/backup (1.10s)
    --- SKIP: TestAll/valkey-8.1 (0.00s)
PASS
`)
	want := []resultInside{
		{name: "redis-7.0"}, {name: "redis-7.0/backup"},
		{name: "valkey-8.1", skipped: true, reason: "servers_test.go:40: NOT TESTED: there is no valkey-server"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
