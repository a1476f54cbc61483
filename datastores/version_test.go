package datastores

import "testing"

func TestCompareVersions(t *testing.T) {
	ascending := []string{"", "7", "7.0", "7.2", "7.10", "8.1", "10.4", "10.11", "10.11-rc1", "10.11-rc2", "10.11-rc10", "11.0"}
	for i, a := range ascending {
		for j, b := range ascending {
			if got, want := CompareVersions(a, b), min(max(i-j, -1), 1); got != want {
				t.Errorf("CompareVersions(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
}
