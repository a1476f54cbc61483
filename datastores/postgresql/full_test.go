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

// TestFullVolume fills volumes until no statement is taken, then with the log until the server ends, and restarts that. Whatever
// is refused says that the volume is full. On a larger one there is all that was acknowledged.
func TestFullVolume(t *testing.T) {
	for _, size := range []int{140, 155, 172} { // the end comes in another statement each time // what ends up as the last to be written is not the same
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			fullVolume(t, size)
		})
	}
}

func fullVolume(t *testing.T, size int) {
	env, ctx := newEnv(t), t.Context()
	grow := datastoretest.SmallVolume(t, env, size)
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
			wantKind(t, err, datastores.Full)
			break
		}
	}
	var err error
	for i := 0; err == nil; i++ { // a server that panicked may have found space
		err = m.CreateDatabase(ctx, datastores.Database{Name: fmt.Sprint("more", i)})
	}
	wantKind(t, err, datastores.Full)

	until.True(t, time.Minute, "the server cannot write its log any more", func() bool {
		return inShop(ctx, m, "SELECT pg_logical_emit_message(true, 'x', repeat('x', 1000000))") != nil
	})
	until.True(t, time.Minute, "the server answers again, or says why it does not", func() bool {
		st := m.Status(ctx)
		return st.Service == datastores.StatusHealthy ||
			st.Service == datastores.StatusBlocked && strings.HasPrefix(st.Message, "the volume is full") ||
			st.Service == datastores.StatusShutdown && strings.Contains(datastores.Reason(st.Message), noSpace)
	})
	must(t, m.Stop(ctx))
	err = m.Start(ctx)
	if err == nil {
		err = countRows(t, m, acknowledged)
	}
	if err != nil { // a server that has no space may let nobody in
		wantKind(t, err, datastores.Full)
	}
	must(t, m.Stop(ctx))
	grow(size + 200) // a first look at rows is written to the log, too
	must(t, m.Start(ctx))
	must(t, countRows(t, m, acknowledged))
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

// countRows returns the error of a session that could not count.
func countRows(t *testing.T, m *Manager, want int) error {
	t.Helper()
	return m.withIn(t.Context(), "shop", func(s *session) error {
		n, err := s.one(t.Context(), "SELECT count(*) FROM public.t")
		if err == nil && n.int() != int64(want) {
			t.Errorf("%s rows, and %d were acknowledged", n, want)
		}
		return err
	})
}
