package postgresql

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// TestFullVolume fills a volume until no statement is taken, then with the log until the server ends, and restarts that. On a
// larger volume there is all that was acknowledged.
func TestFullVolume(t *testing.T) {
	t.Parallel()
	env, ctx := newEnv(t), t.Context()
	grow := datastoretest.SmallVolume(t, env, 160)
	m := newManager(t, env, DefaultOptions())
	must(t, m.Prepare(ctx, quietly()))
	must(t, m.CreateDatabase(ctx, datastores.Database{Name: "shop"}))
	must(t, inShop(ctx, m, "CREATE TABLE public.t (n serial PRIMARY KEY, v bytea)", "ALTER TABLE public.t ALTER v SET STORAGE PLAIN"))
	acknowledged := 0
	for _, rows := range []int{500, 1} {
		insert := fmt.Sprintf("INSERT INTO public.t (v) SELECT convert_to(repeat('x', 7000), 'UTF8') FROM generate_series(1, %d)", rows)
		for {
			err := inShop(ctx, m, insert)
			if err == nil {
				acknowledged += rows
				continue
			}
			if !is(err, stateDiskFull) {
				t.Errorf("after %d rows: %v", acknowledged, err)
			}
			break
		}
	}
	wantKind(t, m.CreateDatabase(ctx, datastores.Database{Name: "more"}), datastores.Full)

	until.True(t, time.Minute, "the server cannot write its log any more", func() bool {
		return inShop(ctx, m, "SELECT pg_logical_emit_message(true, 'x', repeat('x', 1000000))") != nil
	})
	until.True(t, time.Minute, "the server answers again, or says why it has ended", func() bool {
		st := m.Status(ctx)
		return st.Service == datastores.StatusHealthy ||
			st.Service == datastores.StatusShutdown && strings.Contains(datastores.Reason(st.Message), "No space left on device")
	})
	must(t, m.Stop(ctx))
	if err := m.Start(ctx); err != nil {
		wantKind(t, err, datastores.Full)
	} else {
		hasRows(t, m, acknowledged)
	}
	must(t, m.Stop(ctx))
	grow(220)
	must(t, m.Start(ctx))
	hasRows(t, m, acknowledged)
	must(t, inShop(ctx, m, "INSERT INTO public.t (v) VALUES ('more')"))
}

// A server's reason to end is none that a session had.
func TestOfItself(t *testing.T) {
	for log, want := range map[string]string{
		"LOG:  starting PostgreSQL 15\nERROR:  relation \"x\" does not exist\nSTATEMENT:  SELECT secret\nFATAL:  could not receive data: ERROR:  slot\n":              "could not receive data: ERROR: slot",
		"FATAL:  password authentication failed\nPANIC:  could not write: No space left on device\nLOG:  signal 6\nFATAL:  the database system is in recovery mode\n": "could not write: No space left on device",
	} {
		if got := datastores.Reason(ofItself(log)); got != want {
			t.Errorf("the reason of %q is %q", log, got)
		}
	}
}

func hasRows(t *testing.T, m *Manager, want int) {
	t.Helper()
	must(t, m.withIn(t.Context(), "shop", func(s *session) error {
		n, err := s.one(t.Context(), "SELECT count(*) FROM public.t")
		if err == nil && n.int() != int64(want) {
			t.Errorf("%s rows, and %d were acknowledged", n, want)
		}
		return err
	}))
}
