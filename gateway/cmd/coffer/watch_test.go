package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/dbext"
)

func TestBar(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	why := dbext.Why{
		Step: "prepare", WaitingFor: "the guest", Since: dbext.Time{Time: since}, Deadline: dbext.Time{Time: since.Add(10 * time.Minute)},
	}
	for _, test := range []struct {
		name     string
		progress *agentpoll.Progress
		width    int
		want     string
	}{
		{"nothing known", nil, 100, "[ >                  ]       prepare: waiting for the guest  12s of 10m0s"},
		{"unknown total", &agentpoll.Progress{Done: 3, Message: "packages"}, 100, "[ >                  ]       prepare: packages  12s of 10m0s"},
		{"half", &agentpoll.Progress{Done: 50, Total: 100, Message: "restore"}, 100, "[##########          ]  50%  prepare: restore  12s of 10m0s"},
		{"more than all", &agentpoll.Progress{Done: 7, Total: 5, Message: "restore"}, 100, "[####################] 100%  prepare: restore  12s of 10m0s"},
		{"narrow", &agentpoll.Progress{Done: 50, Total: 100, Message: "restore"}, 40, "[##########          ]  50%  prepare: r"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			b := &bar{w: &out, width: test.width, now: func() time.Time { return since.Add(12 * time.Second) }}
			why.Progress = test.progress
			b.state(why)
			if diff := cmp.Diff(test.want, out.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Events stand above the bar, which vanishes in the end; progress is the bar's own matter.
func TestBarMakesRoom(t *testing.T) {
	var out strings.Builder
	at := dbext.Time{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	b := &bar{w: &out, width: 30, now: func() time.Time { return at.Time }}
	b.event(dbext.Event{At: at, Kind: "step", Message: "one"})
	b.state(dbext.Why{Step: "launch", WaitingFor: "the host"})
	b.event(dbext.Event{At: at, Kind: "progress", Message: "two"})
	b.event(dbext.Event{At: at, Kind: "done", Message: "three"})
	b.end()
	lines := strings.Split(out.String(), "\r\x1b[K")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "03:04:05  step      one\n[") || lines[1] != "03:04:05  done      three\n" {
		t.Errorf("got %q", out.String())
	}
}
