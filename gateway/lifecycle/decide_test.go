package lifecycle_test

import (
	"testing"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// BenchmarkDecide decides what most requests come to: an operation that begins, and a report that changes nothing.
func BenchmarkDecide(b *testing.B) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	in := etcdschema.Instance{ID: "i", Host: "h", Prepared: true}
	for name, event := range map[string]lifecycle.Event{
		"restart": {Type: lifecycle.AskRestart},
		"report":  {Type: lifecycle.Reported},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := lifecycle.Decide(member(in), event, now, func() string { return "command" }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestOneRowAPlace(t *testing.T) {
	type place struct {
		step  lifecycle.Step
		event lifecycle.EventType
	}
	seen := map[place]bool{}
	for _, row := range lifecycle.Table() {
		if at := (place{row.Step, row.Event}); seen[at] {
			t.Errorf("%q has two rows for %s", row.Step, row.Event)
		} else {
			seen[at] = true
		}
	}
}
