package host

import (
	"strings"
	"testing"
)

// TestClaim: two hosts of one machine never give the same user ids; what a host that has ended had is free.
func TestClaim(t *testing.T) {
	dir := t.TempDir()
	take := func(first, last int, says string) (release func() error) {
		t.Helper()
		release, err := claim(dir, Range{first, last})
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Fatalf("claim of %d-%d: %v, want %q", first, last, err, says)
		}
		return release
	}
	first := take(20000, 29999, "")
	take(30000, 30999, "")
	for _, overlapping := range []Range{{20000, 29999}, {25000, 25001}, {29999, 29999}, {10000, 40000}, {1000, 20000}} {
		take(overlapping.First, overlapping.Last, "need different -uids")
	}
	take(31000, 31999, "")
	if err := first(); err != nil {
		t.Fatal(err)
	}
	take(10000, 25000, "")
	take(20000, 29999, "gives the user ids 10000-25000")
}
