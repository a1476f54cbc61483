package mysql

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// A server is made as it was at any second, position or transaction of a log that was shipped through a crash of the server.
func TestPointInTime(t *testing.T) {
	m := prepared(t)
	must(t, makeDatabase(t.Context(), m, datastores.Database{Name: "shop"}))
	log := &datastoretest.ShippedLog{Manager: m}
	log.Ship(t, 1<<20)
	db := admin(t, m)
	exec := func(statement string) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), statement)
		must(t, err)
	}
	exec("CREATE TABLE shop.at (n INT PRIMARY KEY)")
	log.Ship(t, 1<<20)
	first := len(log.Parts)
	var stream bytes.Buffer
	reply, err := m.BackupStrategies()[0].Backup(t.Context(), datastores.BackupRequest{ID: "b", Output: &stream, Expect: func(int64) {}})
	must(t, err)
	base := datastores.BackupLink{ID: "b", Meta: reply.Meta, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(stream.Bytes())), nil
	}}
	const rows = 6
	times, places, transactions := make([]time.Time, rows+1), make([]string, rows+1), make([]string, rows+1)
	for n := 1; n <= rows; n++ {
		exec(fmt.Sprintf("INSERT INTO shop.at VALUES (%d)", n))
		end, err := m.logEnd(t.Context())
		must(t, err)
		times[n], places[n] = time.Now(), end.String()
		must(t, db.QueryRowContext(t.Context(), "SELECT @@gtid_binlog_pos").Scan(&transactions[n]))
		switch n {
		case 2:
			exec("FLUSH BINARY LOGS")
			log.Ship(t, 600)
		case 4:
			must(t, datastoretest.KillServer(t.Context(), m.service))
			must(t, m.Start(t.Context()))
			db = admin(t, m)
		}
		until.Passed(2100 * time.Millisecond)
	}
	log.Ship(t, 1<<20)
	restored := func(from int, at time.Time, position string) (int, error) {
		t.Helper()
		other := newManager(t, newEnv(t))
		req := restoring(other, base)
		req.Restore.Request.Log = log.Replay(from, at, position)
		if err := other.Prepare(t.Context(), req); err != nil {
			return 0, err
		}
		db, n := admin(t, other), 0
		must(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM shop.at WHERE n BETWEEN 1 AND (SELECT COUNT(*) FROM shop.at)").Scan(&n))
		_, err := db.ExecContext(t.Context(), "INSERT INTO shop.at VALUES (1000)") // it takes writes
		must(t, err)
		readOnly, err := isReadOnly(t.Context(), db)
		if must(t, err); readOnly {
			t.Error("the server takes no writes of tenants")
		}
		return n, nil
	}
	for _, c := range []struct {
		from     int
		at       time.Time
		position string
		want     int
	}{
		{first, times[2], "", 2}, {0, times[4], "", 4}, {first, times[rows], "", rows},
		{first, time.Time{}, places[3], 3}, {0, time.Time{}, places[rows], rows},
		{first, time.Time{}, transactions[5], 5}, {0, time.Time{}, transactions[1], 1},
	} {
		if got, err := restored(c.from, c.at, c.position); err != nil || got != c.want {
			t.Errorf("at %s %s there are %d rows, want %d: %v", c.at, c.position, got, c.want, err)
		}
	}
	for _, wrong := range []string{"binlog.000099:4", "0-1-999999", "yesterday"} {
		_, err := restored(first, time.Time{}, wrong)
		wantKind(t, err, datastores.Invalid)
	}
	exec("RESET MASTER")
	if _, err = m.KeepLog(t.Context(), log.At); err == nil {
		_, err = m.ReadLog(t.Context(), datastores.LogRequest{After: log.At, Most: 1 << 20, Output: io.Discard})
	}
	wantKind(t, err, datastores.Conflict)
}
