package lifecycle_test

import (
	"testing"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// TestWhatMovesDataMayTakeLong: a restore, a new replica and a backup live as long as they make progress; their commands must
// not end before, wherever the deadline is looked at. A prepare without data ends with its usage_timeout.
func TestWhatMovesDataMayTakeLong(t *testing.T) {
	for _, c := range []struct {
		name  string
		in    etcdschema.Instance
		event lifecycle.EventType
		long  bool
	}{
		{"create", etcdschema.Instance{}, lifecycle.Enrolled, false},
		{"restore", etcdschema.Instance{Restore: []string{"b1"}}, lifecycle.Enrolled, true},
		{"a replica's copy", etcdschema.Instance{SetID: "set"}, lifecycle.Done, true},
		{"backup", at(lifecycle.Idle), lifecycle.AskBackup, true},
		{"upgrade", at(lifecycle.Equipping), lifecycle.Done, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := c.in
			if in.ID == "" {
				in.ID, in.Host, in.Created, in.UsageTimeout = "guest", "host", start, 600
				in.Operation = &etcdschema.Operation{Kind: lifecycle.Create, Step: string(lifecycle.Enrolling), Since: start, Deadline: start.Add(time.Minute)}
				if c.event == lifecycle.Done {
					in.Operation.Step, in.Operation.Command = string(lifecycle.Snapshotting), "c0"
				}
			}
			d, err := lifecycle.Decide(member(in), event(c.event, in), start, ids())
			if err != nil {
				t.Fatal(err)
			}
			in, command := d.Instance, own(d)
			if command == nil {
				t.Fatalf("no command: %+v", in.Operation)
			}
			for hours := range 5 { // it tells of progress again and again
				now := start.Add(time.Duration(hours) * 25 * time.Minute)
				in.Operation.Deadline = lifecycle.Stall(in, now)
			}
			late := start.Add(2 * time.Hour)
			if got := late.Before(in.Operation.Deadline); got != c.long {
				t.Errorf("its step lives for two hours with progress: %v, want %v", got, c.long)
			}
			if got := late.Before(command.Deadline); got != c.long {
				t.Errorf("its command lives for two hours: %v, want %v", got, c.long)
			}
		})
	}
}
