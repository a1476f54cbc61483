package postgresql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cofferdb/coffer/datastores"
)

// DeleteUser implements [datastores.Users]. What the user owns stays and belongs to the owner role of its database. A user that
// cannot be deleted is as before; one whose deletion was cut off is listed, is not let in, and can be deleted again.
func (m *Manager) DeleteUser(ctx context.Context, name, _ string) error {
	return m.with(ctx, func(s *session) error {
		if err := requireUser(ctx, s, name); err != nil {
			return err
		}
		limit, err := s.one(ctx, "SELECT rolconnlimit FROM pg_roles WHERE rolname = $1", name)
		if err != nil {
			return failed(err, "cannot delete user %q", name)
		}
		if err := requireDroppable(ctx, s, name); err != nil {
			return err
		}
		err = s.exec(ctx, "ALTER ROLE "+identifier(name)+" CONNECTION LIMIT 0") // NOLOGIN would take it out of the list
		if err == nil {
			err = m.dropRole(ctx, s, name)
		}
		if err != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			undo := "ALTER ROLE " + identifier(name) + " CONNECTION LIMIT " + limit.String()
			if undone := m.with(ctx, func(s *session) error { return s.exec(ctx, undo) }); undone != nil {
				m.env.Log.Warn("a user that could not be deleted is not let in", "user", name, "err", undone)
			}
		}
		return failed(err, "cannot delete user %q", name)
	})
}

// requireDroppable returns Conflict, before anything is changed, when something has to go first that only a person may end.
func requireDroppable(ctx context.Context, s *session, name string) error {
	rows, err := s.query(ctx, "SELECT gid, database FROM pg_prepared_xacts WHERE owner = $1 LIMIT 1", name)
	if err == nil && len(rows) > 0 {
		return datastores.Errorf(datastores.Conflict, "user %q has the prepared transaction '%s' in database %q: commit it or roll it back first",
			name, rows[0][0], rows[0][1])
	}
	if err != nil {
		return failed(err, "cannot look for prepared transactions")
	}
	closed, err := s.one(ctx, `SELECT d.datname FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid
		WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1)
			AND (NOT d.datallowconn OR d.datconnlimit = -2) LIMIT 1`, name)
	if err == nil && closed != nil {
		return datastores.Errorf(datastores.Conflict, "user %q has objects or rights in database %q, which takes no connections: let it take them, or delete it first",
			name, closed)
	}
	return failed(err, "cannot look for what user %q has", name)
}

// dropRole ends the sessions of a role that nobody can log in as, gives away what it owns in every database, and drops it.
// What was given away before it fails stays so.
func (m *Manager) dropRole(ctx context.Context, s *session, name string) error {
	if err := throwOut(ctx, s, name); err != nil {
		return err
	}
	if err := disown(ctx, s, name); err != nil {
		return err
	}
	databases, err := s.column(ctx, `SELECT DISTINCT d.datname FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid
		WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1)`, name)
	if err != nil {
		return err
	}
	for _, database := range databases {
		err := m.withIn(ctx, database, func(inside *session) error {
			owner, err := own(ctx, inside, database, "")
			if err == nil {
				err = giveAway(ctx, inside, name, owner)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, database := range databases {
		err := m.withIn(ctx, database, func(inside *session) error { return inside.exec(ctx, "DROP OWNED BY "+identifier(name)) })
		if err != nil {
			return err
		}
	}
	// What is shared, such as rights on databases, goes with the role or not at all.
	return s.exec(ctx, "DROP OWNED BY "+identifier(name)+"; DROP ROLE "+identifier(name))
}

// disown gives the databases and tablespaces that a role owns to the guest: that root gave them to it makes them nobody else's.
func disown(ctx context.Context, s *session, name string) error {
	statements, err := s.column(ctx, `SELECT format('ALTER DATABASE %I OWNER TO `+adminUser+`', datname)
			FROM pg_database WHERE datdba = (SELECT oid FROM pg_roles WHERE rolname = $1)
		UNION ALL SELECT format('ALTER TABLESPACE %I OWNER TO `+adminUser+`', spcname)
			FROM pg_tablespace WHERE spcowner = (SELECT oid FROM pg_roles WHERE rolname = $1)`, name)
	if err == nil && len(statements) > 0 {
		err = s.exec(ctx, strings.Join(statements, ";"))
	}
	return err
}

const (
	// givenAtOnce bounds the locks of one transaction: each table takes several, and the server has room for so many alone.
	givenAtOnce = 200
	// lockPatience is how long a table may be in use by somebody else.
	lockPatience = "5s"
)

// giveAway makes what a role owns in the session's database another's. The role owns no database or tablespace.
func giveAway(ctx context.Context, inside *session, name, to string) error {
	if err := inside.exec(ctx, "SET lock_timeout = '"+lockPatience+"'"); err != nil {
		return err
	}
	for {
		// A sequence of a column goes with its table.
		statements, err := inside.column(ctx, `SELECT format('ALTER TABLE %s OWNER TO %I', c.oid::regclass, $2::text) FROM pg_class c
			WHERE c.relowner = (SELECT oid FROM pg_roles WHERE rolname = $1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
				AND NOT EXISTS (SELECT FROM pg_depend p WHERE p.classid = 'pg_class'::regclass AND p.objid = c.oid
					AND p.refclassid = 'pg_class'::regclass AND p.refobjsubid > 0 AND p.deptype IN ('a', 'i') AND c.relkind = 'S')
			LIMIT `+fmt.Sprint(givenAtOnce), name, to)
		if err == nil && len(statements) == 0 {
			statements = []string{"REASSIGN OWNED BY " + identifier(name) + " TO " + identifier(to)}
			return inTheWay(ctx, inside, name, inside.exec(ctx, statements[0]))
		}
		if err == nil {
			err = inside.exec(ctx, strings.Join(statements, ";"))
		}
		if err != nil {
			return inTheWay(ctx, inside, name, err)
		}
	}
}

// inTheWay makes of an error that says that something is in use one that says by whom.
func inTheWay(ctx context.Context, inside *session, name string, err error) error {
	if said := (*pgconn.PgError)(nil); errors.As(err, &said) && said.Code == stateNotAllowed {
		return datastores.Errorf(datastores.Conflict, "user %q owns what only a superuser may own, which root has to drop or take first: %s", name, said.Message)
	}
	if !is(err, stateLocked) {
		return err
	}
	rows, asked := inside.query(ctx, `SELECT coalesce('the session ' || a.pid || ' of user ' || quote_ident(a.usename), 'the prepared transaction ' || quote_literal(p.gid)),
			c.oid::regclass
		FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
			LEFT JOIN pg_stat_activity a ON a.pid = l.pid
			LEFT JOIN pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.virtualtransaction = l.virtualtransaction AND x.locktype = 'transactionid'
			LEFT JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
		WHERE l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND l.pid IS DISTINCT FROM pg_backend_pid() AND c.relowner = (SELECT oid FROM pg_roles WHERE rolname = $1) LIMIT 1`, name)
	if asked != nil || len(rows) == 0 {
		return datastores.Errorf(datastores.Conflict, "what user %q owns is in use by another session: end it and try again", name)
	}
	return datastores.Errorf(datastores.Conflict, "%s uses %s of user %q: end it and try again", rows[0][0], rows[0][1], name)
}

// throwOut ends the sessions of a role. It returns when they have ended.
func throwOut(ctx context.Context, s *session, name string) error {
	return endSessions(ctx, s, "usename = $1", name)
}
