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
