package gateway

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
)

// TestSpaceIsToldBefore: operators read that etcd is nearly full once an hour, that it is full once, and that it is not any more.
func TestSpaceIsToldBefore(t *testing.T) {
	var log bytes.Buffer
	g := &Gateway{log: slog.New(slog.NewTextHandler(&log, nil))}
	var before *etcdschema.Space
	warned := time.Time{}
	for _, step := range []struct {
		used int64
		full bool
		says string
	}{
		{79, false, ""}, {80, false, "nearly full"}, {90, false, ""}, {100, true, "is full"}, {100, true, ""}, {50, false, "again"}, {50, false, ""}, {95, false, ""},
	} {
		log.Reset()
		now := etcdschema.Space{Size: step.used, Quota: 100, Full: step.full}
		g.tellSpace(before, now, &warned)
		before = &now
		if got := log.String(); (got != "") != (step.says != "") || !strings.Contains(got, step.says) {
			t.Errorf("%+v: said %q; want a word of %q", now, got, step.says)
		}
	}
	warned = time.Now().Add(-2 * spaceAgain)
	if g.tellSpace(before, *before, &warned); !strings.Contains(log.String(), "nearly full") {
		t.Error("two hours later nothing is said")
	}
	if used := (etcdschema.Space{Size: 1}).Used(); used != 0 {
		t.Errorf("of a quota that is not told %v are used", used)
	}
}
