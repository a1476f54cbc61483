package api

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/cofferdb/coffer/gateway/limits"
)

func TestTooMany(t *testing.T) {
	list := func(n int) string {
		b, _ := json.Marshal(make([]int, n))
		return string(b)
	}
	for body, want := range map[string]bool{
		list(limits.MaxEntries):     false,
		list(limits.MaxEntries + 1): true,
		fmt.Sprintf(`{"a":%s,"b":{"c":%s}}`, list(limits.MaxEntries/2), list(limits.MaxEntries/2)):   false,
		fmt.Sprintf(`{"a":%s,"b":{"c":%s}}`, list(limits.MaxEntries/2), list(limits.MaxEntries/2+1)): true,
		fmt.Sprintf(`[{"a":%s}]`, list(limits.MaxEntries)):                                           true,
		`{`: false, `]`: false, ``: false, `{"a":"[0,0]"}`: false,
	} {
		if got := tooMany([]byte(body)); got != want {
			t.Errorf("%.40s… has too many entries: %v, want %v", body, got, want)
		}
	}
}
