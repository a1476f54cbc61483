package mysql

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

// systemTables are the files of a server's package that, in this order, make the system databases.
func systemTables(version string) []string {
	by := "mysql"
	if atLeast(version, "11.0") {
		by = "mariadb"
	}
	return []string{
		by + "_system_tables.sql",
		by + "_performance_tables.sql",
		by + "_system_tables_data.sql",
		"fill_help_tables.sql",
		"maria_add_gis_sp_bootstrap.sql",
		by + "_sys_schema.sql",
	}
}

// install makes the data directory, with the server's own locked account in it and no other. It does what
// mariadb-install-db does, without a shell and in one run.
func (m *Manager) install(ctx context.Context) error {
	return m.makeDir(ctx, func(made *volume.Tree) error {
		// The server would sync a thousand times, which on a slow disk is most of what a create takes. Until the directory
		// has its name nobody needs what a crash leaves of it, so it is synced once, afterwards.
		more := []string{"--datadir=" + made.Path("."), "--debug-no-sync"}
		if m.variant.family == "mysql" {
			return m.initialise(ctx, more[:1]...)
		}
		tables, closeTables, err := m.openSystemTables()
		if err != nil {
			return err
		}
		defer closeTables()
		return m.bootstrap(ctx, io.MultiReader(
			strings.NewReader("CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n"),
			tables,
			m.zones(ctx),
			strings.NewReader("DELETE FROM global_priv WHERE User <> 'mariadb.sys';\nDELETE FROM proxies_priv;\n"),
		), more...)
	})
}

// makeDir makes the data directory by [volume.Dir.Make]. The administration password is written before the directory has its name,
// so that this guest can log in to one that has it.
func (m *Manager) makeDir(ctx context.Context, fill func(made *volume.Tree) error) error {
	if err := m.Stop(ctx); err != nil { // nobody of an earlier try writes on
		return err
	}
	if err := m.configure(); err != nil {
		return err
	}
	return m.data.Make(dataDir, func(made *volume.Tree) error {
		if err := fill(made); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return m.newAdminPassword()
	})
}

// adopt gives a complete data directory to this guest, whose own directory was lost. A running server is stopped.
func (m *Manager) adopt(ctx context.Context) error {
	if err := m.Stop(ctx); err != nil {
		return err
	}
	return m.newAdminPassword()
}

// forgetOthers takes away the accounts of replicas of the server that a backup is of, and those of its cluster.
const forgetOthers = "DELETE FROM mysql.global_priv WHERE JSON_VALUE(Priv, '$.access') = 524288;\n" +
	"DELETE FROM mysql.global_priv WHERE User IN ('" + memberUser + "', '" + copyUser + "');\n"

// bootstrap has the server, without network and accounts, run a script of which each statement ends a line. What tenants may set for
// sessions does not hold for it.
func (m *Manager) bootstrap(ctx context.Context, script io.Reader, more ...string) error {
	argv := m.argv(append([]string{
		"--bootstrap", "--skip-log-bin", "--log-warnings=0",
		"--max_allowed_packet=8M", "--autocommit=1", "--sql_mode=", "--max_statement_time=0",
	}, more...)...)
	_, err := service.Run(ctx, argv, service.RunOptions{
		Stdin:      script,
		Credential: m.service.Credential,
	})
	if err != nil {
		return fmt.Errorf("cannot initialise the data directory: %w", err)
	}
	return nil
}

const firstName = "first.sql"

// initialise makes the data directory of one of Oracle's servers, which has the statements for it built in.
func (m *Manager) initialise(ctx context.Context, more ...string) error {
	zones, err := io.ReadAll(m.zones(ctx))
	if err != nil {
		return err
	}
	if err := m.data.WriteFile(firstName, append([]byte("USE mysql;\n"), zones...)); err != nil {
		return err
	}
	defer func() { _ = m.data.Remove(firstName) }()
	argv := m.argv(append([]string{
		"--initialize-insecure", "--skip-log-bin", "--init-file=" + m.path(firstName),
		"--innodb-flush-method=nosync", "--innodb-doublewrite=OFF", "--autocommit=1", "--sql-mode=", // what tenants may set does not hold for it
	}, more...)...)
	_, err = service.Run(ctx, argv, service.RunOptions{Credential: m.service.Credential})
	if err != nil {
		return fmt.Errorf("cannot initialise the data directory: %w", err)
	}
	return nil
}

func (m *Manager) openSystemTables() (r io.Reader, closeAll func(), err error) {
	var files []*os.File
	closeAll = func() {
		for _, f := range files {
			_ = f.Close()
		}
	}
	var readers []io.Reader
	for _, name := range systemTables(m.options.Version) {
		f, err := os.Open(filepath.Join(m.options.ShareDir, name))
		if err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("%w: is the option share_dir right, and is one of the packages %s installed?",
				err, strings.Join(m.options.Packages, " "))
		}
		files, readers = append(files, f), append(readers, f)
	}
	return io.MultiReader(readers...), closeAll, nil
}
