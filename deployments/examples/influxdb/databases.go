package influxdb

import (
	"context"
	"slices"

	"github.com/cofferdb/coffer/datastores"
)

// Names implements [datastores.Names]. The name of a database is that of a directory; the server hashes 72 bytes of a password.
func (m *Manager) Names() datastores.NameRules {
	const name = `[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}`
	return datastores.NameRules{Database: name, User: name, Host: "%?", Password: `[ -~]{1,72}`}
}

// CreateDatabase implements [datastores.Databases].
func (m *Manager) CreateDatabase(ctx context.Context, db datastores.Database) error {
	if db.CharacterSet != "" || db.Collate != "" {
		return datastores.Errorf(datastores.Invalid, "database %q: InfluxDB has no character sets and no collations", db.Name)
	}
	all, err := m.databases(ctx)
	if err != nil {
		return err
	}
	if slices.Contains(all, db.Name) {
		return datastores.Errorf(datastores.Exists, "there is a database %q already", db.Name)
	}
	return m.change(ctx, "CREATE DATABASE "+identifier(db.Name))
}

// ListDatabases implements [datastores.Databases].
func (m *Manager) ListDatabases(ctx context.Context) ([]datastores.Database, error) {
	names, err := m.databases(ctx)
	return named(names), err
}

// DeleteDatabase implements [datastores.Databases]. The server takes the rights on it from its users.
func (m *Manager) DeleteDatabase(ctx context.Context, name string) error {
	if err := m.requireDatabases(ctx, name); err != nil {
		return err
	}
	return m.change(ctx, "DROP DATABASE "+identifier(name))
}

func (m *Manager) databases(ctx context.Context) (names []string, err error) {
	rows, err := m.query(ctx, "SHOW DATABASES")
	for _, row := range rows {
		names = append(names, row[0].(string))
	}
	return names, err
}

func (m *Manager) requireDatabases(ctx context.Context, names ...string) error {
	all, err := m.databases(ctx)
	for _, name := range names {
		if err == nil && !slices.Contains(all, name) {
			return datastores.Errorf(datastores.NotFound, "there is no database %q", name)
		}
	}
	return err
}

func named(names []string) []datastores.Database {
	list := make([]datastores.Database, len(names))
	for i, name := range names {
		list[i].Name = name
	}
	return list
}
