package postgresql

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/modules"
)

// runModule has the server do the statements of a module. What they make belongs to the database's owner role, as what its users make does.
func (m *Manager) runModule(ctx context.Context, s modules.Statements) error {
	if slices.Contains(m.options.IgnoreDBs, s.Database) {
		return datastores.Errorf(datastores.Invalid, "the database that it names is the server's own")
	}
	options := "LOGIN"
	if s.Root {
		options = "SUPERUSER LOGIN"
	}
	var following value
	err := m.with(ctx, func(of *session) (err error) {
		following, err = of.one(ctx, "SELECT pg_is_in_recovery()")
		if err == nil && requireDatabases(ctx, of, []string{s.Database}) != nil {
			return datastores.Errorf(datastores.NotFound, "there is no database of the name that its first line has")
		}
		return failed(err, "cannot ask whether the server follows another")
	})
	if err == nil && following.bool() {
		err = datastores.Errorf(datastores.Conflict, "the server is read-only: it is a replica; apply the module to its source")
	}
	if err != nil {
		return err
	}
	return m.withAccount(ctx, options, func(password datastores.Secret) error {
		err := m.with(ctx, func(of *session) error {
			// The text of an error may quote its statement.
			statements := "ALTER ROLE " + dumpUser + " SET log_min_messages = panic;"
			if !s.Root {
				grants, err := m.grants(ctx, of, dumpUser, []string{s.Database})
				if err != nil {
					return err
				}
				statements += grants
			}
			return failed(of.exec(ctx, statements), "cannot make the account by which the statements run")
		})
		if err != nil {
			return err
		}
		return m.runAs(ctx, password, s)
	})
}

// runAs runs statements as a client would, in one session. What the server says of one may quote it.
func (m *Manager) runAs(ctx context.Context, password datastores.Secret, s modules.Statements) error {
	config, err := m.socketConfig(dumpUser, s.Database)
	if err != nil {
		return err
	}
	config.Password = password.Reveal()
	config.RuntimeParams = map[string]string{"application_name": "coffer-guest", "client_encoding": "UTF8"}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return failed(err, "cannot log in to run the statements")
	}
	defer (&session{conn}).close()
	results := conn.Exec(ctx, s.Text)
	for results.NextResult() {
		rows := results.ResultReader()
		for rows.NextRow() { // nobody wants them
		}
		_, _ = rows.Close()
	}
	err = results.Close()
	if said := (*pgconn.PgError)(nil); errors.As(err, &said) {
		return modules.Refused(said.Code)
	}
	return err
}
