package mysql

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// CreateDatabase implements [datastores.Databases]. Without character set and collation it has the server's: utf8mb4.
func (m *Manager) CreateDatabase(ctx context.Context, database datastores.Database) error {
	var with string
	if database.CharacterSet != "" {
		with += " CHARACTER SET " + text(database.CharacterSet)
	}
	if database.Collate != "" {
		with += " COLLATE " + text(database.Collate)
	}
	return m.changeDatabases(ctx, []string{database.Name}, func(db *sql.DB, names []string) error {
		_, err := db.ExecContext(ctx, "CREATE DATABASE "+identifier(names[0])+with)
		return failed(err, "cannot create database %q", database.Name)
	})
}

// ListDatabases implements [datastores.Databases].
func (m *Manager) ListDatabases(ctx context.Context) (all []datastores.Database, err error) {
	err = m.session(func(db *sql.DB) error {
		all, err = databases(ctx, db)
		return err
	})
	return all, err
}

// DeleteDatabase implements [datastores.Databases]. Sessions that use the database end. What can fail comes first; then the
// rights on it go: MariaDB would keep them, for the next database of that name.
func (m *Manager) DeleteDatabase(ctx context.Context, name string) error {
	return m.changeDatabases(ctx, []string{name}, func(db *sql.DB, names []string) error {
		name := names[0]
		missing := requireDatabases(ctx, db, names)
		if missing == nil {
			if err := m.dropDatabase(ctx, db, name); err != nil {
				return err
			}
		} else if e := new(datastores.Error); !errors.As(missing, &e) || e.Kind != datastores.NotFound {
			return missing
		}
		// Also when it is gone already: an earlier call may have been cut here.
		if err := revokeFromAll(ctx, db, name); err != nil {
			return failed(err, "cannot revoke the rights on database %q", name)
		}
		if err := endSessions(ctx, db, tenantSessions+" AND BINARY DB = ?", name); err != nil {
			return failed(err, "cannot end the sessions that used database %q", name)
		}
		return missing
	})
}

// changeDatabases is [Manager.change] for what concerns databases. It tells do their names as the server has them: with
// lower_case_table_names it knows small letters only.
func (m *Manager) changeDatabases(ctx context.Context, names []string, do func(db *sql.DB, names []string) error) error {
	return m.change(ctx, func(db *sql.DB) error {
		names, err := fold(ctx, db, names)
		if err != nil {
			return err
		}
		return do(db, names)
	})
}

// FoldDatabases implements [datastores.FoldsNames].
func (m *Manager) FoldDatabases(ctx context.Context, names []string) (folded []string, err error) {
	err = m.session(func(db *sql.DB) error {
		folded, err = fold(ctx, db, names)
		return err
	})
	return folded, err
}

func fold(ctx context.Context, db *sql.DB, names []string) ([]string, error) {
	var folds bool
	if err := db.QueryRowContext(ctx, "SELECT @@GLOBAL."+foldedBy+" = 1").Scan(&folds); err != nil {
		return nil, failed(err, "cannot ask the server whether it tells large letters from small ones")
	}
	names = slices.Clone(names)
	for i, name := range names {
		if folds {
			names[i] = strings.ToLower(name)
		}
	}
	return names, nil
}

func databases(ctx context.Context, db *sql.DB) ([]datastores.Database, error) {
	var all []datastores.Database
	err := query(ctx, db, func(scan func(...any) error) error {
		var d datastores.Database
		err := scan(&d.Name, &d.CharacterSet, &d.Collate)
		all = append(all, d)
		return err
	}, "SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA")
	return all, failed(err, "cannot list databases")
}

// requireDatabases returns NotFound for the first name that is not exactly a database's. It compares here: the server
// would take abc for ABC.
func requireDatabases(ctx context.Context, db *sql.DB, names []string) error {
	if len(names) == 0 {
		return nil
	}
	all, err := databases(ctx, db)
	if err != nil {
		return err
	}
	known := make(map[string]bool, len(all))
	for _, d := range all {
		known[d.Name] = true
	}
	for _, name := range names {
		if !known[name] {
			return datastores.Errorf(datastores.NotFound, "there is no database %q", name)
		}
	}
	return nil
}
