package guest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// kept counts how often it is asked to look after its server.
type kept struct {
	datastores.Manager
	times atomic.Int64
}

func (k *kept) Upkeep(context.Context) error {
	k.times.Add(1)
	return nil
}

func TestUpkeep(t *testing.T) {
	b := newBench(t).prepared(t)
	s := *b.served.Load()
	k := &kept{Manager: s.manager}
	s.manager = k
	b.served.Store(&s)
	supervised(t, b, func() {
		wantMore := func(when string, want int64) {
			t.Helper()
			before := k.times.Load()
			time.Sleep(time.Minute + time.Second)
			if n := k.times.Load() - before; n != want {
				t.Errorf("%s the server was looked after %d times in a minute, want %d", when, n, want)
			}
		}
		wantMore("when nobody calls", 12)
		release, err := b.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wantMore("while another has its turn", 0)
		release()
		wantMore("afterwards", 12)
		b.do(t, command(datastores.MethodStop), nil)
		wantMore("when it is stopped", 0)
	})
}

// blocked counts how often it is asked to bring its server back.
type blocked struct {
	datastores.Manager
	times atomic.Int64
}

func (b *blocked) Status(context.Context) datastores.Status {
	return datastores.Status{Service: datastores.StatusBlocked, Message: "the others are gone"}
}

func (b *blocked) Mend(context.Context) error {
	b.times.Add(1)
	return datastores.Errorf(datastores.Unavailable, "the others are gone")
}

func TestMend(t *testing.T) {
	b := newBench(t).prepared(t)
	s := *b.served.Load()
	m := &blocked{Manager: s.manager}
	s.manager = m
	b.served.Store(&s)
	supervised(t, b, func() {
		time.Sleep(time.Minute + time.Second)
		if n := m.times.Load(); n != 12 {
			t.Errorf("a blocked server was brought back %d times in a minute, want 12", n)
		}
	})
}
