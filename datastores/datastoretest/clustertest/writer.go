package clustertest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/service"
)

const (
	someRows   = 20
	outsideRow = -1              // the number of a row that must not be acknowledged
	oneTry     = 5 * time.Second // how long a write may take before it is tried again
)

// logins are how the tenant comes to members.
func (c *cluster) logins(members ...*member) (at []datastoretest.Login) {
	for _, m := range members {
		l := c.login
		l.Address = m.Address
		at = append(at, l)
	}
	return at
}

// open opens a client at members, to be closed by the caller.
func (c *cluster) open(t *testing.T, members ...*member) Client {
	t.Helper()
	ctx, cancel := c.within()
	defer cancel()
	client, err := c.Open(ctx, c.logins(members...))
	if err != nil {
		t.Fatalf("open a client: %v", err)
	}
	return client
}

// writer is a client that writes one row after the other, each until it is acknowledged.
type writer struct {
	c            *cluster
	acknowledged atomic.Int64
	longest      time.Duration // without a row acknowledged
	last         error         // why a row was not acknowledged
	stop         func()
}

// write starts a writer at the members that are in.
func (c *cluster) write(t *testing.T) *writer {
	t.Helper()
	client := c.open(t, c.of(datastores.ClusterIn)...)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	w := &writer{c: c, stop: sync.OnceFunc(func() {
		cancel()
		<-ended
	})}
	t.Cleanup(w.stop)
	row := c.rows
	go func() {
		defer close(ended)
		defer func() { _ = client.Close() }()
		for since := time.Now(); ctx.Err() == nil; {
			try, cancel := context.WithTimeout(ctx, oneTry)
			err := client.Write(try, row)
			cancel()
			pause := 2 * time.Millisecond
			if err == nil {
				row++
				w.acknowledged.Add(1)
				w.longest, since = max(w.longest, time.Since(since)), time.Now()
			} else if ctx.Err() == nil {
				w.last, pause = err, 20*time.Millisecond
			}
			service.Pause(ctx, pause)
		}
	}()
	return w
}

// goesOn waits until so many more rows were acknowledged.
func (w *writer) goesOn(t *testing.T, more int64) {
	t.Helper()
	from := w.acknowledged.Load()
	if !until.Holds(w.c.Timeout, func() bool { return w.acknowledged.Load() >= from+more }) {
		w.stop()
		t.Fatalf("the writer does not go on after %d rows: %v", w.acknowledged.Load(), w.last)
	}
}

// keeps has the writer go on, ends it, and wants every row that was ever acknowledged, seen from each member.
func (w *writer) keeps(t *testing.T) {
	t.Helper()
	w.goesOn(t, someRows)
	w.stop()
	c := w.c
	c.rows += int(w.acknowledged.Load())
	t.Logf("%d rows acknowledged, at most %s without one", w.acknowledged.Load(), w.longest.Round(time.Millisecond))
	for _, m := range c.of(datastores.ClusterIn) {
		client := c.open(t, m)
		var missing []int
		c.must(t, m, "read", func(ctx context.Context) (err error) {
			missing, err = client.Missing(ctx, c.rows)
			return err
		})
		_ = client.Close()
		if len(missing) > 0 {
			t.Errorf("member %s: of %d rows that were acknowledged %d are missing, the first is %d", m.ID, c.rows, len(missing), missing[0])
		}
	}
}

// takesNothing wants that a member acknowledges no row.
func (c *cluster) takesNothing(t *testing.T, m *member) {
	t.Helper()
	ctx, cancel := c.within()
	defer cancel()
	client, err := c.Open(ctx, c.logins(m))
	if err != nil {
		return
	}
	defer func() { _ = client.Close() }()
	for range 3 {
		try, cancel := context.WithTimeout(ctx, oneTry)
		err := client.Write(try, outsideRow)
		cancel()
		if err == nil {
			t.Errorf("member %s has acknowledged a row that the others do not have", m.ID)
			return
		}
	}
}

// isOutside wants that a member which reaches too few others says so, and acknowledges nothing.
func (c *cluster) isOutside(t *testing.T, m *member) {
	t.Helper()
	var st datastores.Status
	if !until.Holds(c.Timeout, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), oneTry)
		defer cancel()
		st = m.Status(ctx)
		return st.Service == datastores.StatusBlocked && st.Message != ""
	}) {
		t.Errorf("member %s, which reaches too few others, says %+v; want %s, and why", m.ID, st, datastores.StatusBlocked)
	}
	t.Logf("member %s says: %s", m.ID, st.Message)
	c.takesNothing(t, m)
}
