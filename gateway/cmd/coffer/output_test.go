package main

import (
	"bytes"
	"strings"
	"testing"
)

// A tenant's name with an escape sequence must not reach an operator's terminal.
func TestOutputHasNoControlCharacters(t *testing.T) {
	for _, v := range []view{table{{"name"}, {"a\x1b[2Jb\u009b31m\r"}}, fields{{"name", "a\x1b[2Jb\u009b31m\r"}}, text("a\x1b[2Jb\u009b31m\r")} {
		var out bytes.Buffer
		v.write(&out)
		if strings.ContainsAny(out.String(), "\x1b\u009b\r") || !strings.Contains(out.String(), "a[2Jb31m") {
			t.Errorf("%T: %q", v, out.String())
		}
	}
}
