package postgresql

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// dump writes a logical backup: what makes the roles, then a dump of each database. Each database is as it was at one
// moment; not all at the same.
func (m *Manager) dump(ctx context.Context, req datastores.BackupRequest) (datastores.BackupReply, error) {
	if req.Parent != nil {
		return datastores.BackupReply{}, datastores.Errorf(datastores.Unsupported, "a logical backup cannot build on another one: take a full backup")
	}
	var roles, databases []string
	var total int64
	err := m.with(ctx, func(s *session) (err error) {
		if roles, err = s.column(ctx, rolesQuery); err != nil {
			return failed(err, "cannot read the roles")
		}
		rows, err := s.query(ctx, "SELECT datname, pg_database_size(oid) FROM pg_database WHERE "+dumpedDatabases+" ORDER BY datname")
		for _, row := range rows {
			databases, total = append(databases, row[0].String()), total+row[1].int()
		}
		return failed(err, "cannot list databases")
	})
	if err != nil {
		return datastores.BackupReply{}, err
	}
	req.Expect(total)
	if err := writePart(req.Output, part{Statements: roles}, nil); err != nil {
		return datastores.BackupReply{}, err
	}
	err = m.withDumpUser(ctx, func(env []string) error {
		for _, name := range databases {
			err := writePart(req.Output, part{Database: name}, func(w io.Writer) error {
				_, err := m.run(ctx, []string{
					m.program("pg_dump"), "--format=custom", "--compress=0", "--create", "--no-tablespaces", "--role=" + adminUser, "--no-password",
				}, service.RunOptions{Dir: m.env.DataDir, Env: append(env, "PGDATABASE="+name), Stdout: w})
				return err
			})
			if err != nil {
				return fmt.Errorf("cannot dump database %q: %w", name, err)
			}
		}
		return nil
	})
	return datastores.BackupReply{}, err
}

// dumpedDatabases are those that may hold something of a tenant's.
const dumpedDatabases = "datallowconn AND datconnlimit <> -2 AND datname NOT IN ('template0', 'template1')"

// tenantRoles leaves out the server's, the guest's and those of replicas.
const tenantRoles = `r.rolname !~ '^pg_' AND r.rolname NOT IN ('` + adminUser + `', '` + dumpUser + `', '` + replicasRole + `')
	AND NOT EXISTS (SELECT FROM pg_auth_members g JOIN pg_roles o ON o.oid = g.roleid WHERE g.member = r.oid AND o.rolname = '` + replicasRole + `')`

// rolesQuery writes the statements that make the tenants' roles, their settings and memberships; a role comes before what
// is granted to it.
const rolesQuery = `SELECT statement FROM (
	SELECT 1 AS place, r.rolname, format('CREATE ROLE %I WITH %s %s %s %s %s %s %s CONNECTION LIMIT %s%s%s', r.rolname,
		CASE WHEN r.rolsuper THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END,
		CASE WHEN r.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
		CASE WHEN r.rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END,
		CASE WHEN r.rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END,
		CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
		CASE WHEN r.rolreplication THEN 'REPLICATION' ELSE 'NOREPLICATION' END,
		CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END, r.rolconnlimit,
		coalesce(' PASSWORD ' || quote_literal(r.rolpassword), ''), coalesce(' VALID UNTIL ' || quote_literal(r.rolvaliduntil), '')) AS statement
	FROM pg_authid r WHERE ` + tenantRoles + `
	UNION ALL
	SELECT 2, r.rolname, format('ALTER ROLE %I SET %I TO %s', r.rolname, split_part(c, '=', 1),
		CASE WHEN split_part(c, '=', 1) IN ('search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries')
			THEN substr(c, strpos(c, '=') + 1) ELSE quote_literal(substr(c, strpos(c, '=') + 1)) END)
	FROM pg_authid r JOIN pg_db_role_setting t ON t.setrole = r.oid AND t.setdatabase = 0, unnest(t.setconfig) c WHERE ` + tenantRoles + `
	UNION ALL
	SELECT 3, r.rolname, format('GRANT %I TO %I%s', o.rolname, r.rolname, CASE WHEN g.admin_option THEN ' WITH ADMIN OPTION' ELSE '' END)
	FROM pg_auth_members g JOIN pg_authid r ON r.oid = g.member JOIN pg_authid o ON o.oid = g.roleid WHERE ` + tenantRoles + `
) all_of_them ORDER BY place, rolname, statement`

// load makes a running server hold what a logical backup holds, and nothing else.
func (m *Manager) load(ctx context.Context, req datastores.RestoreRequest) error {
	if len(req.Chain) != 1 {
		return datastores.Errorf(datastores.Invalid, "a logical backup stands alone; there are %d", len(req.Chain))
	}
	req.Progress("removing what an earlier try has left")
	if err := m.empty(ctx); err != nil {
		return err
	}
	stream, err := req.Chain[0].Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	parts := newPartReader(stream)
	err = m.withDumpUser(ctx, func(env []string) error {
		for {
			p, err := parts.next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err == nil {
				err = m.loadPart(ctx, p, parts, env, req.Progress)
			}
			if err != nil {
				return err
			}
		}
	})
	if err != nil {
		return fmt.Errorf("cannot load the backup: %w", err)
	}
	return m.with(ctx, func(s *session) error { return m.furnish(ctx, s) })
}

func (m *Manager) loadPart(ctx context.Context, p part, content io.Reader, env []string, progress func(string)) error {
	if p.Database == "" {
		progress("making roles")
		return m.with(ctx, func(s *session) error {
			for _, statement := range p.Statements {
				if err := s.exec(ctx, statement); err != nil {
					return failed(err, "cannot make a role")
				}
			}
			return nil
		})
	}
	progress(fmt.Sprintf("loading database %q", p.Database))
	_, err := m.run(ctx, []string{
		m.program("pg_restore"), "--create", "--dbname=" + otherDatabase, "--exit-on-error", "--role=" + adminUser, "--no-password",
	}, service.RunOptions{Dir: m.env.DataDir, Env: env, Stdin: content})
	if err == nil {
		_, err = io.Copy(io.Discard, content)
	}
	return err
}

// empty drops every database and role of tenants, and the guest's home, which comes back from the dump.
func (m *Manager) empty(ctx context.Context) error {
	return m.withIn(ctx, otherDatabase, func(s *session) error {
		databases, err := s.column(ctx, "SELECT datname FROM pg_database WHERE datname NOT IN ('template0', 'template1')")
		for _, name := range databases {
			if err == nil {
				err = s.exec(ctx, "DROP DATABASE "+identifier(name)+" WITH (FORCE)")
			}
		}
		if err != nil {
			return failed(err, "cannot drop the databases")
		}
		roles, err := s.column(ctx, "SELECT rolname FROM pg_roles r WHERE "+tenantRoles)
		slices.Reverse(roles)
		for _, name := range roles {
			if err == nil {
				err = s.exec(ctx, "DROP OWNED BY "+identifier(name)+"; DROP ROLE "+identifier(name))
			}
		}
		return failed(err, "cannot drop the roles")
	})
}

// withDumpUser calls do with the environment in which the server's programs can log in through the socket. They run as
// the server's user, which the server does not let in by its id; so they have an account of their own for that long.
func (m *Manager) withDumpUser(ctx context.Context, do func(env []string) error) error {
	return m.withAccount(ctx, "SUPERUSER LOGIN", func(password datastores.Secret) error {
		return do([]string{
			"PGHOST=/proc/self/cwd", // the volume; its own path may be too long for a socket's
			"PGPORT=5432", "PGUSER=" + dumpUser, "PGPASSWORD=" + password.Reveal(), "PGAPPNAME=coffer-guest",
			"PGOPTIONS=-c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic -c default_transaction_read_only=off",
		})
	})
}

// withAccount calls do while there is an account for it, dumpUser with those options, which can log in through the socket. The server logs
// none of its statements.
func (m *Manager) withAccount(ctx context.Context, options string, do func(password datastores.Secret) error) error {
	password := datastores.NewSecret(rand.Text())
	clause, err := withPassword(password)
	if err != nil {
		return err
	}
	err = m.with(ctx, func(s *session) error {
		following, err := s.one(ctx, "SELECT pg_is_in_recovery()")
		if err == nil && following.bool() {
			return datastores.Errorf(datastores.Conflict, "a replica cannot be dumped: choose the strategy pg_basebackup, or back up its source")
		}
		if err == nil {
			err = m.dropDumpUser(ctx, s)
		}
		if err == nil {
			err = s.exec(ctx, "CREATE ROLE "+dumpUser+" "+options+clause)
		}
		for _, setting := range []string{"log_statement = none", "log_min_duration_statement = -1", "log_min_error_statement = panic"} {
			if err == nil {
				err = s.exec(ctx, "ALTER ROLE "+dumpUser+" SET "+setting)
			}
		}
		return failed(err, "cannot make the account for a dump")
	})
	if err != nil {
		return err
	}
	err = do(password)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingTimeout+5*time.Second)
	defer cancel()
	undone := m.withIn(ctx, otherDatabase, func(s *session) error {
		if err := throwOut(ctx, s, dumpUser); err != nil {
			return err
		}
		return m.dropDumpUser(ctx, s)
	})
	return errors.Join(err, undone)
}

// dropDumpUser drops the account if it is there, also when it has rights or owns something in databases.
func (m *Manager) dropDumpUser(ctx context.Context, s *session) error {
	there, err := s.one(ctx, "SELECT true FROM pg_roles WHERE rolname = $1", dumpUser)
	if err != nil || !there.bool() {
		return err
	}
	return m.dropRole(ctx, s, dumpUser)
}
