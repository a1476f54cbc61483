package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
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
	pending   int64  // transactions that were received and are not applied
	counted   bool   // pending is known
	row       map[string]string
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
		row:       row,
	}
	if n := row[words.receiveErrno]; n == errSourceCannotGoOn || n == errSourceGivesUp {
		f.broken = f.trouble
	}
	f.pending, f.counted = m.variant.dialect.pending(ctx, db, row)
	if m.variant.family == "mysql" && f.pending > 0 { // what it has read may be in the hands of its workers
		f.drained = false
	}
	return f, nil
}

// errSourceCannotGoOn is what a replica is told that asks for what the source has not got, or not any more, by Oracle's servers with
// errSourceGivesUp.
const (
	errSourceCannotGoOn = "1236"
	errSourceGivesUp    = "13114"
)

// Following implements [datastores.Replication].
func (m *Manager) Following(ctx context.Context) (is datastores.Following, err error) {
	err = m.session(func(db *sql.DB) error {
		f, err := m.follows(ctx, db)
		if err != nil || f.source == "" {
			is.Role = datastores.RoleSource
			return err
		}
		at, err := m.variant.dialect.position(ctx, db)
		is = datastores.Following{
			Role: datastores.RoleReplica, Follows: f.receiving == "Yes" && f.applying,
			At: at.ID, Waits: !f.drained, Lag: f.lag(m.variant.dialect.words()),
		}
		if !is.Follows {
			is.Why = f.why(m.variant.dialect.words())
		}
		return failed(err, "cannot read the server's position")
	})
	return is, err
}

// lag is how far behind a replica is.
func (f following) lag(words replicationWords) datastores.Lag {
	lag := datastores.Lag{}
	if seconds, err := strconv.ParseInt(f.row[words.behind], 10, 64); err == nil { // else NULL: it does not receive or apply
		lag[datastores.Seconds] = max(0, seconds)
	}
	if f.counted {
		lag[datastores.Transactions] = f.pending
	}
	return lag
}

// why says why a replica does not follow: what stands before the first quote of the server's own words, for a row may follow, and
// what the number of the error means.
func (f following) why(words replicationWords) string {
	said, number := f.row[words.applyError], f.row[words.applyErrno]
	switch {
	case said != "":
	case !f.applying:
		return "the server was told to stop applying what it receives"
	default:
		said, number = f.trouble, f.row[words.receiveErrno]
	}
	if said == "" {
		if f.receiving == "No" {
			return "the server was told to stop receiving from its source"
		}
		return "the server does not reach its source"
	}
	if at := strings.IndexAny(said, "'\"`"); at >= 0 {
		said = said[:at]
	}
	said = strings.TrimRight(said, " :;,.(")
	if meaning, ok := replicaErrors[number]; ok {
		return meaning + ": " + said + " (error " + number + ")"
	}
	return said + " (error " + number + ")"
}

// replicaErrors are the numbers of what usually stops a replica.
var replicaErrors = map[string]string{
	"1007": "a database is there already", "1008": "a database is missing", "1032": "a row is missing", "1045": "the source does not let it in",
	"1049": "a database is missing", "1050": "a table is there already", "1054": "a column is missing", "1062": "a row is there already",
	"1146": "a table is missing", errSourceCannotGoOn: "the source has not, or not any more, what it asks for",
	errSourceGivesUp: "the source has not, or not any more, what it asks for",
	"2003":           "it does not reach its source", "2013": "the source does not answer",
}

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
	all, err := allRows(ctx, db, statement)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[0], nil
}

// allRows returns the rows of a result by column. NULL is "".
func allRows(ctx context.Context, db *sql.DB, statement string) (all []map[string]string, err error) {
	rows, err := db.QueryContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		row := map[string]string{}
		for i, name := range columns {
			row[name] = values[i].String
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
