package limits

import (
	"slices"
	"strings"
	"testing"
)

func TestLimitsTableIsSound(t *testing.T) {
	var names []string
	for _, row := range Table() {
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
	l, err := New("get=120", "instances=3", "write_bytes=-1")
	if err != nil {
		t.Fatal(err)
	}
	if l.Value("get") != 120 || l.Value("instances") != 3 || l.writes != nil || l.Value("post") != 600 {
		t.Errorf("%+v", l.values)
	}
	_, err = New("getx=1", "body=1", "get=0", "post=many", "put=-2")
	for _, word := range []string{`"getx"`, `"body"`, "get=", "post=", "put="} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s is not told of: %v", word, err)
		}
	}
}

func TestControlCharactersAreNotKept(t *testing.T) {
	for text, want := range map[string]string{"plain\ttext\n": "plain\ttext\n", "\x1b]0;owned\x07": "]0;owned", "\u009b31m": "31m"} {
		if got := Shortened(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
		if HasControl(text) != (text != want) {
			t.Errorf("%q: has control characters: %t", text, HasControl(text))
		}
	}
	if got := Shortened(strings.Repeat("ä", maxMessage)); len(got) > maxMessage || !strings.HasPrefix(got, "ää") || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("cut to %d bytes", len(got))
	}
}
