package agents

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// TestProgressInNumbers: an agent that counts as it goes writes one line into the timeline, and the record now and then.
func TestProgressInNumbers(t *testing.T) {
	store := etcdtest.New(t)
	now := time.Now().UTC()
	plane := control.New(control.Config{Store: store, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }})
	t.Cleanup(plane.Close)
	be := New(plane, "g")
	const id, command = "0197f000-0000-7000-8000-000000000001", "0197f000-0000-7000-8000-000000000002"
	in := etcdschema.Instance{ID: id, Project: "p1", Restore: []string{"b"}, Operation: &etcdschema.Operation{
		Kind: string(lifecycle.Create), Step: string(lifecycle.Preparing), Since: now, Started: now, Deadline: now.Add(time.Minute), Agent: id, Command: command,
	}}
	cmd := etcdschema.Command{Command: agentpoll.Command{ID: command, Method: datastores.MethodPrepare}, Project: "p1", Instance: id, Step: true}
	key := etcdschema.InstanceKey("p1", id)
	put(t, store, etcdschema.Put(key, in), etcdschema.Put(etcdschema.CommandKey(id, command), cmd))
	count := func() int {
		t.Helper()
		n, err := etcdschema.Count(t.Context(), store, etcdschema.Events(id))
		if err != nil {
			t.Fatal(err)
		}
		return int(n)
	}
	tell := func(message string) {
		t.Helper()
		if err := be.Progress(t.Context(), id, command, agentpoll.Progress{Message: message}); err != nil {
			t.Fatal(err)
		}
	}
	writes := 0
	for n := range 100 {
		message := fmt.Sprintf("restoring, %d.%d of 1000 MB, %d %%", n*10, n%7, n)
		tell(message)
		rec, err := etcdschema.Get(t.Context(), store, key)
		if err != nil {
			t.Fatal(err)
		}
		if rec.Value.Operation.Progress.Message == message {
			writes++
		}
		now = now.Add(time.Second)
	}
	if lines := count(); lines != 1 || writes > 25 {
		t.Errorf("100 reports are %d lines and %d writes; want one line, and a write for each %s", lines, writes, progressEvery)
	}
	tell("following the source")
	if lines := count(); lines != 2 {
		t.Errorf("other words make %d lines; want one more", lines)
	}
}

func put(t *testing.T, store *etcdschema.Store, ops ...etcdschema.Op) {
	t.Helper()
	if _, err := store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) { return ops, nil }); err != nil {
		t.Fatal(err)
	}
}
