package mysql

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// dumpStrategy is SQL: it takes longer than a copy of the files, and can be loaded into another version. What is in tables
// without transactions is as it was when they were read.
func (m *Manager) dumpStrategy() datastores.BackupStrategy {
	return datastores.BackupStrategy{
		StrategyName: datastores.StrategyName{Namespace: backupNamespace, Name: "mysqldump"},
		Logical:      true,
		Backup:       m.backupRows,
		Restore:      m.restoreRows,
	}
}

func (m *Manager) backupRows(ctx context.Context, req datastores.BackupRequest) (datastores.BackupReply, error) {
	if err := m.full(); err != nil {
		return datastores.BackupReply{}, err
	}
	if req.Parent != nil {
		return datastores.BackupReply{}, datastores.Errorf(datastores.Invalid, "mysqldump cannot build on another backup")
	}
	var names []string
	var accounts string
	var history bool
	err := m.sessionWith(m.variant.dumping, func(db *sql.DB) (err error) {
		if names, err = m.tenantDatabases(ctx, db); err != nil {
			return err
		}
		if history, err = m.canDumpHistory(ctx, db); err != nil {
			return err
		}
		accounts, err = m.accountStatements(ctx, db)
		return failed(err, "cannot read the accounts")
	})
	if err != nil {
		return datastores.BackupReply{}, err
	}
	data, logs := m.sizes()
	req.Expect(data)
	if len(names) > 0 {
		err = m.withLogin(ctx, func(login string, begun func()) error {
			return m.runTool(ctx, m.dumpArgv(login, names, history), nil, io.MultiWriter(hook(begun), req.Output))
		})
	}
	if err == nil {
		_, err = io.WriteString(req.Output, accounts)
	}
	if err != nil {
		return datastores.BackupReply{}, fmt.Errorf("cannot make the backup: %w", err)
	}
	meta, err := json.Marshal(backupMeta{Family: m.variant.family, Version: m.options.Version})
	return datastores.BackupReply{Meta: meta, Without: logs}, err
}

// canDumpHistory reports whether the program can dump the history of tables with system versions. It fails when one of them is
// precise to the transaction.
func (m *Manager) canDumpHistory(ctx context.Context, db *sql.DB) (can bool, err error) {
	if m.variant.family != "mariadb" {
		return false, nil
	}
	const precise = "SELECT COUNT(*) = 0 FROM information_schema.COLUMNS WHERE GENERATION_EXPRESSION = 'ROW START' AND DATA_TYPE = 'bigint'"
	return can, db.QueryRowContext(ctx, precise).Scan(&can)
}

func (m *Manager) dumpArgv(login string, names []string, history bool) []string {
	argv := []string{
		m.tool(m.variant.dump), login, "--single-transaction", "--quick", "--routines", "--events", "--triggers",
		"--hex-blob", "--default-character-set=utf8mb4", "--max-allowed-packet=1G",
	}
	if m.variant.family == "mysql" { // or it would write a position that the server it is loaded into has not got
		argv = append(argv, "--set-gtid-purged=OFF")
	}
	if history {
		argv = append(argv, "--dump-history")
	}
	return append(append(argv, "--databases", "--"), names...)
}

// tenantDatabases are all but the server's own.
func (m *Manager) tenantDatabases(ctx context.Context, db *sql.DB) ([]string, error) {
	all, err := databases(ctx, db)
	var names []string
	for _, d := range all {
		if !slices.Contains(DefaultOptions().IgnoreDBs, d.Name) {
			names = append(names, d.Name)
		}
	}
	return names, err
}

// accountStatements are those that make all roles and accounts but the server's and the guest's own, with their rights.
func (m *Manager) accountStatements(ctx context.Context, db *sql.DB) (string, error) {
	var users []string
	err := query(ctx, db, func(scan func(...any) error) error {
		var a account
		err := scan(&a.name, &a.host)
		if !slices.Contains([]string{adminUser, "mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema"}, a.name) {
			users = append(users, a.sql())
		}
		return err
	}, "SELECT User, Host FROM mysql.user u WHERE User <> '' AND User <> 'PUBLIC' AND "+m.variant.isUser+" ORDER BY User, Host")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	// Written by a session of this mode, to be read in it.
	b.WriteString("\nSET SESSION sql_mode = " + text(sqlMode) + ";\n")
	roles, err := m.roles(ctx, db)
	if err != nil {
		return "", err
	}
	for _, role := range roles {
		b.WriteString("CREATE ROLE IF NOT EXISTS " + role + ";\n")
	}
	for _, show := range []string{"SHOW CREATE USER ", "SHOW GRANTS FOR "} {
		owners := users
		if show == "SHOW GRANTS FOR " {
			for _, role := range roles {
				owners = append([]string{role}, owners...)
			}
		}
		for _, owner := range owners {
			err := query(ctx, db, func(scan func(...any) error) error {
				var statement string
				err := scan(&statement)
				b.WriteString(statement + ";\n")
				return err
			}, show+owner)
			if err != nil {
				return "", err
			}
		}
	}
	return b.String(), nil
}

// roles are those of tenants, quoted. With Oracle's servers each is an account, with a host.
func (m *Manager) roles(ctx context.Context, db *sql.DB) (names []string, err error) {
	statement := "SELECT User, '' FROM mysql.user WHERE BINARY is_role = 'Y' AND User <> 'PUBLIC'"
	if m.variant.family != "mariadb" {
		statement = "SELECT User, Host FROM mysql.user u WHERE " + isRole
	}
	if m.variant.family != "mariadb" && !atLeast(m.options.Version, "8.0") {
		return nil, nil
	}
	err = query(ctx, db, func(scan func(...any) error) error {
		var a account
		err := scan(&a.name, &a.host)
		if a.host == "" {
			names = append(names, text(a.name))
		} else {
			names = append(names, a.sql())
		}
		return err
	}, statement)
	return names, err
}

// restoreRows loads the dump into the empty server that Prepare has made. It makes anew a server
// that an earlier try has filled half.
func (m *Manager) restoreRows(ctx context.Context, req datastores.RestoreRequest) error {
	if len(req.Chain) != 1 {
		return datastores.Errorf(datastores.Invalid, "%d backups to restore; of mysqldump's it is one", len(req.Chain))
	}
	if err := m.emptied(ctx); err != nil {
		return err
	}
	req.Progress("loading the backup")
	link := req.Chain[0]
	stream, err := link.Open(ctx)
	if err != nil {
		return err
	}
	err = m.withLogin(ctx, func(login string, _ func()) error { return m.runTool(ctx, m.loadArgv(login), stream, nil) })
	_ = stream.Close()
	if err != nil {
		return fmt.Errorf("cannot restore backup %s: %w", link.ID, err)
	}
	return nil
}

// loadArgv reads SQL as it is: --binary-mode knows no commands of the client but one that changes the delimiter. A table that root
// has made without InnoDB's strict mode is made again without it.
func (m *Manager) loadArgv(login string) []string {
	return []string{
		m.tool(m.variant.client), login, "--batch", "--binary-mode", "--default-character-set=utf8mb4", "--max-allowed-packet=1G",
		"--init-command=SET sql_log_bin = 0, innodb_strict_mode = 0" + m.variant.loading,
	}
}

// emptied makes the server anew when there is something in it.
func (m *Manager) emptied(ctx context.Context) error {
	empty := false
	err := m.session(func(db *sql.DB) error {
		names, err := m.tenantDatabases(ctx, db)
		if err != nil {
			return err
		}
		accounts, err := m.users(ctx, db, "u.Host <> 'localhost'")
		empty = len(names) == 0 && len(accounts) == 0
		return failed(err, "cannot list users")
	})
	if err != nil || empty {
		return err
	}
	if err := m.discardData(ctx); err != nil {
		return err
	}
	if err := m.install(ctx); err != nil {
		return err
	}
	return m.Start(ctx)
}
