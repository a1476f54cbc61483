package datastores

import "testing"

func TestFirstOf(t *testing.T) {
	for want, found := range map[string][]string{
		"": nil, "a": {"a"}, "a; b; c": {"a", "b", "c"}, "a; b; c; and 2 more": {"a", "b", "c", "d", "e"},
	} {
		if got := FirstOf(found); got != want {
			t.Errorf("the first of %q: %q, want %q", found, got, want)
		}
	}
}
