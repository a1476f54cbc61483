package mysql

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
)

// What a call has begun that was cut takes effect before the statements of the next call, whatever it is, and a tenant who holds the turn
// keeps nobody from it.
func TestTurn(t *testing.T) {
	ctx, m := t.Context(), prepared(t)
	begun, cut := context.WithCancel(ctx)
	left := make(chan error, 1)
	go func() {
		left <- m.turn(begun, func(db *sql.DB) error {
			return execute(begun, db, "SET GLOBAL read_only = (SELECT SLEEP(2) AS begun)") // 0, after that
		})
	}()
	atWork := func() (n int) {
		must(t, m.session(func(db *sql.DB) error {
			return db.QueryRow("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND INFO LIKE 'SET GLOBAL%SLEEP%'").Scan(&n)
		}))
		return n
	}
	until.True(t, time.Minute, "the statement is at work", func() bool { return atWork() > 0 })
	cut()
	if err := <-left; err == nil {
		t.Error("the call was cut, and says that it was not")
	}
	must(t, m.setReadOnly(ctx, true))
	until.True(t, time.Minute, "the statement of the call that was cut has ended", func() bool { return atWork() == 0 })
	var readOnly bool
	must(t, m.session(func(db *sql.DB) error { return db.QueryRow("SELECT @@GLOBAL.read_only").Scan(&readOnly) }))
	if !readOnly {
		t.Error("the server takes writes again, by the statement of a call that was cut before it was told to take none")
	}

	tenant, err := m.connect(nil)
	must(t, err)
	defer func() { _ = tenant.Close() }()
	var holds bool
	must(t, tenant.QueryRow("SELECT GET_LOCK('coffer.turn', 0)").Scan(&holds))
	if !holds {
		t.Fatal("the turn is not free")
	}
	must(t, m.setReadOnly(ctx, false))
}
