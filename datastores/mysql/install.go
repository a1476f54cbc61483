package mysql

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// systemTables are the files of a server's package that, in this order, make the system databases.
var systemTables = []string{
	"mysql_system_tables.sql",
	"mysql_performance_tables.sql",
	"mysql_system_tables_data.sql",
	"fill_help_tables.sql",
	"maria_add_gis_sp_bootstrap.sql",
	"mysql_sys_schema.sql",
}

// unfinished begins the name of a data directory in the making. Each has a name of its own: the server that was making
// one when its guest was killed may still be writing there.
const unfinished = "unfinished-"

// install makes the data directory, with the administration account and the server's own locked one in it and no other.
// It does what mariadb-install-db does, without a shell and in one run with the accounts. The administration password is
// written before the directory gets its name, so a directory that has its name is one that this guest can log in to.
func (m *Manager) install(ctx context.Context) error {
	volume, err := os.OpenRoot(m.env.DataDir)
	if err != nil {
		return err
	}
	defer func() { _ = volume.Close() }()
	if err := m.configure(); err != nil {
		return err
	}
	making := unfinished + rand.Text()[:8]
	if err := service.MakeDir(m.env.DataDir, making, m.env.UID, m.env.GID); err != nil {
		return err
	}
	tables, closeTables, err := m.openSystemTables()
	if err != nil {
		return err
	}
	defer closeTables()
	password := datastores.NewSecret(rand.Text())
	script := io.MultiReader(
		strings.NewReader("CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n"),
		tables,
		strings.NewReader("DELETE FROM global_priv WHERE User <> 'mariadb.sys';\nDELETE FROM proxies_priv;\n"),
		strings.NewReader(adminAccount(password)),
	)
	// The server would sync a thousand times, which on a slow disk is most of what a create takes. Until the directory
	// has its name nobody needs what a crash leaves of it, so it is synced once, afterwards.
	if err := m.bootstrap(ctx, script, "--datadir="+m.path(making), "--debug-no-sync"); err != nil {
		return err
	}
	if err := syncTree(volume, making); err != nil {
		return err
	}
	if err := m.writeAdminPassword(password); err != nil {
		return err
	}
	if err := volume.Rename(making, dataDir); err != nil {
		return err
	}
	return syncFile(volume, ".")
}

// adopt gives a complete data directory to this guest: one whose guest has lost its own directory, or one that was
// restored. A running server is stopped.
func (m *Manager) adopt(ctx context.Context) error {
	if err := m.Stop(ctx); err != nil {
		return err
	}
	if err := m.configure(); err != nil {
		return err
	}
	password := datastores.NewSecret(rand.Text())
	if err := m.bootstrap(ctx, strings.NewReader(adminAccount(password))); err != nil {
		return err
	}
	return m.writeAdminPassword(password)
}

// bootstrap has the server, without network and accounts, run a script of which each statement ends a line.
func (m *Manager) bootstrap(ctx context.Context, script io.Reader, more ...string) error {
	argv := m.argv(append([]string{"--bootstrap", "--log-warnings=0", "--max_allowed_packet=8M"}, more...)...)
	_, err := service.Run(ctx, argv, service.RunOptions{
		Stdin:      script,
		Credential: service.Credential(m.env.UID, m.env.GID),
	})
	if err != nil {
		return fmt.Errorf("cannot initialise the data directory: %w", err)
	}
	return nil
}

// adminAccount is the statement of a bootstrap script, which knows no accounts yet, that makes the administration
// account or gives it a new password.
func adminAccount(password datastores.Secret) string {
	return fmt.Sprintf("REPLACE INTO mysql.global_priv (Host, User, Priv) VALUES ('localhost', '%s', "+
		`'{"access":18446744073709551615,"plugin":"mysql_native_password","authentication_string":"%s"}');`+"\n",
		adminUser, nativeHash(password))
}

func (m *Manager) openSystemTables() (r io.Reader, closeAll func(), err error) {
	var files []*os.File
	closeAll = func() {
		for _, f := range files {
			_ = f.Close()
		}
	}
	var readers []io.Reader
	for _, name := range systemTables {
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

// removeUnfinished clears away what a Prepare that was cut off has left. What cannot be removed only takes space.
func (m *Manager) removeUnfinished() {
	left, err := filepath.Glob(m.path(unfinished + "*"))
	if err != nil || len(left) == 0 {
		return
	}
	volume, err := os.OpenRoot(m.env.DataDir)
	if err != nil {
		return // whoever needs it next says why
	}
	defer func() { _ = volume.Close() }()
	for _, path := range left {
		if err := volume.RemoveAll(filepath.Base(path)); err != nil {
			m.env.Log.Warn("cannot remove an unfinished data directory", "path", path, "err", err)
		}
	}
}

// syncTree makes every file and directory below name durable.
func syncTree(volume *os.Root, name string) error {
	return fs.WalkDir(volume.FS(), name, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() && !d.Type().IsRegular() {
			return nil
		}
		return syncFile(volume, path)
	})
}

func syncFile(volume *os.Root, name string) error {
	f, err := volume.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
