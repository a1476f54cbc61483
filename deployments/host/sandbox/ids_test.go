package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestIDs: a range is given again when all others have been, and never while it is taken.
func TestIDs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ids")
	taken := map[int]bool{}
	next := func() int {
		t.Helper()
		ids := IDs{First: 1 << 20, Last: 1<<20 + 4*Size - 1, File: file} // as after a restart
		first, err := ids.Next(func(first int) bool { return taken[first] })
		if err != nil {
			t.Fatal(err)
		}
		return (first - 1<<20) / Size
	}
	var got []int
	for range 3 {
		got = append(got, next())
	}
	taken[1<<20] = true
	for range 3 {
		got = append(got, next())
	}
	if diff := cmp.Diff([]int{0, 1, 2, 3, 1, 2}, got); diff != "" {
		t.Errorf("ranges in the order in which they are given (-want +got)\n%s", diff)
	}
	ids := IDs{First: 1 << 20, Last: 1<<20 + Size - 1, File: file}
	if _, err := ids.Next(func(int) bool { return true }); err == nil || !strings.Contains(err.Error(), "are taken") {
		t.Errorf("all are taken: %v", err)
	}
	if err := os.WriteFile(file, []byte("many\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ids.Next(func(int) bool { return false }); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a counter that cannot be read: %v", err)
	}
}

// TestSingleIDs: those of instances without a sandbox.
func TestSingleIDs(t *testing.T) {
	ids := IDs{First: 20000, Last: 20002, Each: 1, File: filepath.Join(t.TempDir(), "uids")}
	for _, want := range []int{20000, 20001, 20002, 20000} {
		if got, err := ids.Next(func(int) bool { return false }); err != nil || got != want {
			t.Errorf("given is %d, %v; want %d", got, err, want)
		}
	}
}
