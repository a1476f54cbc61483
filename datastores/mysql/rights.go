package mysql

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores/service"
)

// rightsTables are what the server reads when somebody logs in or uses a database. A statement that changes one has it locked until
// the change counts, so that what is read there lets nobody in any more that it does not name.
var rightsTables = []string{"global_priv", "db", "tables_priv", "columns_priv", "procs_priv", "roles_mapping"}

// endOutdated ends, on a replica, the sessions of users whose password or name was changed on the source, or whose rights are not
// what they were. That a role has lost something ends the sessions of all: the server does not tell who uses it.
func (m *Manager) endOutdated(ctx context.Context, db *sql.DB) error {
	now := map[string][]string{}
	for _, table := range rightsTables {
		if err := readRights(ctx, db, table, now); err != nil {
			return failed(err, "cannot read what users may")
		}
	}
	return service.Rights{Dir: m.env.Dir}.Watch(now, func(lost []string) error {
		for _, user := range lost {
			name, host, _ := strings.Cut(user, "\x00")
			if host == "" { // a role
				return failed(endSessions(ctx, db, tenantSessions), "cannot end the sessions of those who have a role")
			}
			if err := newAccount(name, host).endSessions(ctx, db); err != nil {
				return err
			}
		}
		return nil
	})
}

// readRights adds the rows of a table to what their users have.
func readRights(ctx context.Context, db *sql.DB, table string, of map[string][]string) error {
	rows, err := db.QueryContext(ctx, "SELECT * FROM mysql."+table)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	host, user := slices.Index(columns, "Host"), slices.Index(columns, "User")
	values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		row := table
		for _, v := range values {
			row += "\x00" + v.String
		}
		whose := values[user].String + "\x00" + values[host].String
		of[whose] = append(of[whose], row)
	}
	return rows.Err()
}
