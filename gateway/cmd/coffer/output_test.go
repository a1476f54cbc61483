package main

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
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

// What a guest says or a name is reaches the terminal by errors, the timeline and progress, too.
func TestNothingElseHasControlCharacters(t *testing.T) {
	const planted = "a\x1b[2Jb\u009b31m\r"
	for what, write := range map[string]func(*bytes.Buffer){
		"an error": func(out *bytes.Buffer) { (&app{errs: out}).fail(errors.New(planted)) },
		"an event": func(out *bytes.Buffer) { (&lines{w: out}).event(dbext.Event{Kind: "progress", Message: planted}) },
		"a step":   func(out *bytes.Buffer) { (&lines{w: out}).state(dbext.Why{Step: planted}) },
		"progress": func(out *bytes.Buffer) {
			(&bar{w: out, width: 200, now: time.Now}).state(dbext.Why{Progress: &agentpoll.Progress{Message: planted}})
		},
		"what was done": func(out *bytes.Buffer) { (&app{out: out}).say("deleted %s", planted) },
	} {
		var out bytes.Buffer
		write(&out)
		if strings.ContainsAny(out.String(), "\x1b\u009b\r") || !strings.Contains(out.String(), "a[2Jb31m") {
			t.Errorf("%s: %q", what, out.String())
		}
	}
}

// TestSizesOfBackups: a small backup has a size, too.
func TestSizesOfBackups(t *testing.T) {
	for size, want := range map[float64]string{0: "", 0.0001: "0.1 MB", 0.0098: "10.0 MB", 0.25: "0.25 GB"} {
		if got := backupSize(dbext.Backup{Size: size}); got != want {
			t.Errorf("%v GB is shown as %q, want %q", size, got, want)
		}
	}
}

// TestUserWithAHost: an address behind the last @ is a host, anything else belongs to the name.
func TestUserWithAHost(t *testing.T) {
	for text, want := range map[string][]string{
		"eve@10.0.0.1": {"eve", "10.0.0.1"}, "eve@10.0.0.%": {"eve", "10.0.0.%"}, "eve@%": {"eve", "%"}, "ann@example.com": nil, "eve": nil,
	} {
		var got []string
		if divided := nameAtHost.FindStringSubmatch(text); divided != nil {
			got = divided[1:]
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
}
