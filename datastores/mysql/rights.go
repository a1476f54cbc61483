package mysql

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores/service"
)

// endOutdated ends, on a replica, the sessions of users whose password or name was changed on the source, or whose rights are not
// what they were. The server reads the tables of rights when somebody logs in or uses a database; a statement that changes one has it locked
// until the change counts, so that what is read there lets nobody in any more that it does not name. That a role has lost something ends the sessions of all: the server does not tell who uses it.
func (m *Manager) endOutdated(ctx context.Context, db *sql.DB) error {
	now := map[string][]string{}
	for _, table := range m.variant.rights {
		if err := readRights(ctx, db, table, now); err != nil {
			return failed(err, "cannot read what users may")
		}
	}
	return service.Rights{Dir: m.env.Dir}.Watch(now, func(lost []string) error {
		for _, user := range lost {
			name, host, _ := strings.Cut(user, "\x00")
			a := account{name, host}
			role, err := m.isRole(ctx, db, a)
			if err != nil {
				return err
			}
			if role {
				return failed(endSessions(ctx, db, tenantSessions), "cannot end the sessions of those who have a role")
			}
			if err := a.endSessions(ctx, db); err != nil {
				return err
			}
		}
		return nil
	})
}

// isRole: MariaDB's roles have no host; with Oracle's servers any account is one that another has.
func (m *Manager) isRole(ctx context.Context, db *sql.DB, a account) (role bool, err error) {
	if !slices.Contains(m.variant.rights, "role_edges") {
		return a.host == "", nil
	}
	err = db.QueryRowContext(ctx, "SELECT COUNT(*) > 0 FROM mysql.role_edges WHERE BINARY FROM_USER = ? AND BINARY FROM_HOST = ?", a.name, a.host).Scan(&role)
	return role, failed(err, "cannot ask who has a role")
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
	column := func(name string) int {
		return slices.IndexFunc(columns, func(c string) bool { return strings.EqualFold(strings.TrimPrefix(c, "TO_"), name) })
	}
	host, user := column("host"), column("user")
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
