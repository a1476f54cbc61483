package postgresql

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cofferdb/coffer/datastores"
)

// CheckUpgrade implements [datastores.UpgradeChecker]. pg_upgrade looks for most of it, too, but of a stopped server.
func (m *Manager) CheckUpgrade(ctx context.Context, req datastores.UpgradeRequest) error {
	old, err := m.before(req.From)
	if err != nil {
		return err
	}
	share, err := m.shareDir(ctx)
	if err != nil {
		return err
	}
	u := upgradeCheck{converts: old.options.Version != m.options.Version, settings: map[string][]roleSetting{}, version: m.options.Version, extensions: filepath.Join(share, "extension")}
	var databases []string
	err = old.with(ctx, func(s *session) error {
		if err := u.ofServer(ctx, s); err != nil {
			return err
		}
		databases, err = s.column(ctx, "SELECT datname FROM pg_database WHERE datallowconn AND datconnlimit <> -2 ORDER BY datname")
		return err
	})
	for _, name := range databases {
		if err == nil {
			err = old.withIn(ctx, name, func(s *session) error { return u.ofDatabase(ctx, s, name) })
		}
	}
	if err == nil {
		err = u.tryAll(ctx, m)
	}
	if err != nil {
		return failed(err, "cannot look for what the new version does not take over")
	}
	return datastores.Obstacles(u.found)
}

// upgradeCheck collects what a new version does not take over.
type upgradeCheck struct {
	converts   bool // the data is converted; else a new server takes it as it is, with prepared transactions and the slots of replicas
	version    int
	extensions string                   // the directory of the new version's
	settings   map[string][]roleSetting // that are kept in the data, by name
	found      []string
}

// query runs a statement of which each row is an obstacle.
func (u *upgradeCheck) query(ctx context.Context, s *session, statement, obstacle string) error {
	rows, err := s.query(ctx, statement)
	for _, row := range rows {
		var of []any
		for _, v := range row {
			of = append(of, v.String())
		}
		u.found = append(u.found, fmt.Sprintf(obstacle, of...))
	}
	return err
}

func (u *upgradeCheck) ofServer(ctx context.Context, s *session) error {
	if !u.converts {
		return nil
	}
	for _, look := range []struct{ statement, obstacle string }{
		{"SELECT gid, database FROM pg_prepared_xacts ORDER BY gid",
			"transaction %q in database %q is prepared: end it with COMMIT PREPARED or ROLLBACK PREPARED"},
		{"SELECT slot_name FROM pg_replication_slots WHERE NOT temporary ORDER BY slot_name",
			"there is the replication slot %q: drop it"},
		{"SELECT datname FROM pg_database WHERE datname <> 'template0' AND (NOT datallowconn OR datconnlimit = -2) ORDER BY datname",
			"database %q lets nobody in: drop it, or allow connections"},
		{"SELECT datname FROM pg_database WHERE datname = 'template0' AND datallowconn",
			"database %q lets people in: set its ALLOW_CONNECTIONS to false"},
	} {
		if err := u.query(ctx, s, look.statement, look.obstacle); err != nil {
			return err
		}
	}
	return u.keep(ctx, s, "", `SELECT concat_ws(' in ', 'role ' || quote_ident(r.rolname), 'database ' || quote_ident(d.datname)), c
		FROM pg_db_role_setting t LEFT JOIN pg_roles r ON r.oid = t.setrole LEFT JOIN pg_database d ON d.oid = t.setdatabase, unnest(t.setconfig) c`)
}

func (u *upgradeCheck) ofDatabase(ctx context.Context, s *session, name string) error {
	extensions, err := s.column(ctx, "SELECT extname FROM pg_extension ORDER BY extname")
	if err != nil {
		return err
	}
	for _, extension := range extensions {
		_, err := os.Stat(filepath.Join(u.extensions, extension+".control"))
		if errors.Is(err, os.ErrNotExist) {
			u.found = append(u.found, fmt.Sprintf("PostgreSQL %d has no extension %q, which is in database %q: drop it there", u.version, extension, name))
		} else if err != nil {
			return err
		}
	}
	if !u.converts {
		return nil
	}
	if err := u.query(ctx, s, untakenColumns, fmt.Sprintf("column %%s of table %%s in database %q has the type %%s, which no upgrade takes over: drop it, or change its type", name)); err != nil {
		return err
	}
	return u.keep(ctx, s, fmt.Sprintf(" in database %q", name), `SELECT 'function ' || p.oid::regproc, c FROM pg_proc p, unnest(p.proconfig) c`)
}

// untakenColumns finds columns whose values are object ids that change, or have another format in the new version. See the
// manual of pg_upgrade.
const untakenColumns = `WITH RECURSIVE made(part, whole) AS (
		SELECT typbasetype, oid FROM pg_type WHERE typtype = 'd'
		UNION ALL SELECT typelem, oid FROM pg_type WHERE typcategory = 'A'
		UNION ALL SELECT a.atttypid, c.reltype FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.reltype <> 0 AND NOT a.attisdropped
	), untaken(oid) AS (
		SELECT oid FROM pg_type WHERE typtype = 'c' AND (oid < 16384 OR typnamespace = 'information_schema'::regnamespace)
			OR typnamespace = 'pg_catalog'::regnamespace AND (typname = 'aclitem' AND current_setting('server_version_num')::int < 160000
			OR typname IN ('regcollation', 'regconfig', 'regdictionary', 'regnamespace', 'regoper', 'regoperator', 'regproc', 'regprocedure'))
		UNION SELECT m.whole FROM untaken u JOIN made m ON m.part = u.oid
	)
	SELECT quote_ident(a.attname), c.oid::regclass, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	WHERE a.atttypid IN (SELECT oid FROM untaken) AND NOT a.attisdropped AND c.relkind IN ('r', 'm', 'i')
		AND c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema') AND c.relnamespace::regnamespace::text !~ '^pg_(toast_)?temp_'
	ORDER BY 1, 2`
