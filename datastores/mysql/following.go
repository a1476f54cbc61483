package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// following is how a replica gets on.
type following struct {
	source    string // its address; "": it is none
	receiving string // Yes, No, Connecting
	applying  bool
	drained   bool   // all that was received is applied
	broken    string // why it does not go on
	trouble   string // why it does not receive, for the moment
}

func (m *Manager) follows(ctx context.Context, db *sql.DB) (following, error) {
	words := m.variant.dialect.words()
	row, err := oneRow(ctx, db, words.status)
	if err != nil || row == nil {
		return following{}, failed(err, "cannot read the state of replication")
	}
	f := following{
		source:    row[words.host],
		receiving: row[words.receiving],
		applying:  row[words.applying] == "Yes",
		drained:   strings.Contains(row[words.applyState], "has read all relay log"),
		broken:    row[words.applyError],
		trouble:   row[words.receiveError],
	}
	if row[words.receiveErrno] == errSourceCannotGoOn {
		f.broken = f.trouble
	}
	return f, nil
}

// errSourceCannotGoOn is what a replica is told that asks for what the source has not got, or not any more.
const errSourceCannotGoOn = "1236"

// awaitFollowing returns when the replica receives and applies.
func (m *Manager) awaitFollowing(ctx context.Context, db *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, attachPatience)
	defer cancel()
	for {
		f, err := m.follows(ctx, db)
		switch {
		case err != nil:
			return err
		case f.broken != "":
			return datastores.Errorf(datastores.Conflict, "the server cannot follow the source: %s", f.broken)
		case f.receiving == "Yes" && f.applying:
			return nil
		}
		if !service.Pause(ctx, lookEvery) {
			return fmt.Errorf("the server does not follow the source yet: %w: %s", ctx.Err(), f.trouble)
		}
	}
}

// drain returns when a replica has applied what it has received.
func (m *Manager) drain(ctx context.Context, db *sql.DB) error {
	for {
		f, err := m.follows(ctx, db)
		switch {
		case err != nil:
			return err
		case f.broken != "" || !f.applying:
			return datastores.Errorf(datastores.Conflict, "the replica does not apply what it has received: %s", f.broken)
		case f.drained:
			return nil
		}
		if !service.Pause(ctx, lookEvery) {
			return fmt.Errorf("the replica has not applied yet what it has received: %w", ctx.Err())
		}
	}
}

// oneRow returns the first row of a result by column, nil when there is none.
func oneRow(ctx context.Context, db *sql.DB, statement string) (map[string]string, error) {
	rows, err := db.QueryContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil || !rows.Next() {
		return nil, firstError(err, rows.Err())
	}
	values := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	if err := rows.Scan(into...); err != nil {
		return nil, err
	}
	row := map[string]string{}
	for i, name := range columns {
		row[name] = values[i].String
	}
	return row, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
