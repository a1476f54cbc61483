package gateway

import (
	"slices"
	"strings"
	"testing"
)

func TestLimitsTableIsSound(t *testing.T) {
	var names []string
	for _, row := range LimitTable() {
		if slices.Contains(names, row.Name) {
			t.Errorf("%s is there twice", row.Name)
		}
		names = append(names, row.Name)
		if row.Unit == "" || row.Of == "" || row.Fault == "" || row.Value == 0 {
			t.Errorf("%s says too little: %+v", row.Name, row)
		}
	}
	for _, name := range verbNames {
		if !slices.Contains(names, name) {
			t.Errorf("%s has no row", name)
		}
	}
}

func TestLimitSettings(t *testing.T) {
	l, err := NewLimits("get=120", "instances=3", "write_bytes=-1")
	if err != nil {
		t.Fatal(err)
	}
	if l.value("get") != 120 || l.value("instances") != 3 || l.writes != nil || l.value("post") != 600 {
		t.Errorf("%+v", l.values)
	}
	_, err = NewLimits("getx=1", "body=1", "get=0", "post=many", "put=-2")
	for _, word := range []string{`"getx"`, `"body"`, "get=", "post=", "put="} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s is not told of: %v", word, err)
		}
	}
}

func TestControlCharactersAreNotKept(t *testing.T) {
	for text, want := range map[string]string{"plain\ttext\n": "plain\ttext\n", "\x1b]0;owned\x07": "]0;owned", "\u009b31m": "31m"} {
		if got := shortened(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
		if hasControl(text) != (text != want) {
			t.Errorf("%q: has control characters: %t", text, hasControl(text))
		}
	}
	if got := shortened(strings.Repeat("ä", maxMessage)); len(got) > maxMessage || !strings.HasPrefix(got, "ää") || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("cut to %d bytes", len(got))
	}
	for name, good := range map[string]bool{"db-1": true, "a\x1b[2Jb": false, "a\nb": false} {
		if nonEmpty(name) != good {
			t.Errorf("%q as a name: %t", name, !good)
		}
	}
}
