package postgresql

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// restored are the rows of a server made of a backup and the log.
func restored(t *testing.T, base datastores.BackupLink, log *datastores.LogReplay) (rows int, err error) {
	t.Helper()
	m := newManager(t, newEnv(t), DefaultOptions())
	req := quietly()
	req.Restore = &datastores.Restore{Strategy: m.BackupStrategies()[0], Request: datastores.RestoreRequest{
		Chain: []datastores.BackupLink{base}, Progress: req.Progress, Log: log,
	}}
	if err := m.Prepare(t.Context(), req); err != nil {
		return 0, err
	}
	s := admin(t, m)
	n, err := s.one(t.Context(), "SELECT count(*) FROM public.at WHERE n BETWEEN 1 AND (SELECT count(*) FROM public.at)")
	must(t, err)
	must(t, s.exec(t.Context(), "INSERT INTO public.at VALUES (1000)")) // it takes writes
	must(t, m.Stop(t.Context()))
	must(t, m.Start(t.Context())) // and comes back
	return int(n.int()), nil
}

// A server is made as it was at any moment of a log that was shipped through a crash of the server.
func TestPointInTime(t *testing.T) {
	m := prepared(t)
	s := admin(t, m)
	must(t, s.exec(t.Context(), "CREATE TABLE public.at (n int)"))
	log := &datastoretest.ShippedLog{Manager: m}
	log.Ship(t, 1<<20)
	base, err := taken(t, m, 0, nil)
	must(t, err)
	const rows = 12
	times, positions := make([]time.Time, rows+1), make([]string, rows+1)
	moment := func(s *session) (time.Time, string) {
		now, err := s.logNow(t.Context())
		must(t, err)
		return now.at, now.flushed.String()
	}
	for n := 1; n <= rows; n++ {
		must(t, s.exec(t.Context(), fmt.Sprintf("INSERT INTO public.at VALUES (%d)", n)))
		times[n], positions[n] = moment(s)
		switch n {
		case 4:
			must(t, s.exec(t.Context(), "SELECT pg_switch_wal()"))
			log.Ship(t, 5_000_000)
		case 8:
			s.close()
			must(t, datastoretest.KillServer(t.Context(), m.service))
			must(t, m.Start(t.Context()))
			s = admin(t, m)
		}
	}
	log.Ship(t, 1<<20)
	for _, n := range []int{4, 8, 9, rows} {
		if got, err := restored(t, base, log.Replay(0, times[n], "")); err != nil || got != n {
			t.Errorf("as of the time of row %d there are %d rows: %v", n, got, err)
		}
	}
	for _, n := range []int{2, 10} {
		if got, err := restored(t, base, log.Replay(0, time.Time{}, positions[n])); err != nil || got != n {
			t.Errorf("as of the position of row %d there are %d rows: %v", n, got, err)
		}
	}
	if got, err := restored(t, base, log.Replay(0, time.Time{}, log.At)); err != nil || got != rows {
		t.Errorf("as of the end of the log there are %d rows: %v", got, err)
	}
	_, err = restored(t, base, log.Replay(0, time.Time{}, "FF/0"))
	wantKind(t, err, datastores.Invalid)
	_, err = restored(t, base, log.Replay(0, time.Time{}, "0/100"))
	wantKind(t, err, datastores.Invalid)
	_, err = restored(t, base, log.Replay(0, time.Time{}, "yesterday"))
	wantKind(t, err, datastores.Invalid)
}

// What a server has to give up, or has begun anew, ends the shipping for good.
func TestLogIsGone(t *testing.T) {
	o := DefaultOptions()
	o.WALKeepMB, o.SlotKeepMB = 32, 64
	m := preparedWith(t, o, quietly())
	s := admin(t, m)
	log := &datastoretest.ShippedLog{Manager: m}
	log.Ship(t, 1<<20)
	for range 8 {
		must(t, s.exec(t.Context(), "SELECT pg_logical_emit_message(false, 'x', 'y')"))
		must(t, s.exec(t.Context(), "SELECT pg_switch_wal()"))
	}
	must(t, s.exec(t.Context(), "CHECKPOINT"))
	reply, err := m.ReadLog(t.Context(), datastores.LogRequest{After: log.At, Most: 1 << 20, Output: io.Discard})
	if err == nil && (reply.Keeps != 64<<20 || reply.Kept < 100<<20) {
		t.Errorf("%d bytes are kept of at most %d", reply.Kept, reply.Keeps)
	}
	must(t, s.exec(t.Context(), "CHECKPOINT"))
	if _, err = m.KeepLog(t.Context(), log.At); err == nil {
		_, err = m.ReadLog(t.Context(), datastores.LogRequest{After: log.At, Most: 1 << 20, Output: io.Discard})
	}
	wantKind(t, err, datastores.Conflict)
	log.At = ""
	log.Ship(t, 1<<20)
	must(t, m.own.SaveJSON(shippedName, history{"1", 1}))
	_, err = m.KeepLog(t.Context(), log.At)
	wantKind(t, err, datastores.Conflict)
	must(t, m.DropLog(t.Context()))
	must(t, m.DropLog(t.Context()))
}
