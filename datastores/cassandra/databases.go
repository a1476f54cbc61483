package cassandra

import (
	"context"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// systemKeyspaces are the server's own.
func systemKeyspaces() []string {
	return []string{
		"system", "system_auth", "system_distributed", "system_schema", "system_traces", "system_views", "system_virtual_schema",
		"system_metrics", "system_cluster_metadata",
	}
}

// Names implements [datastores.Names]. A keyspace is a directory, too. bcrypt takes 72 bytes of a password and no more.
func (m *Manager) Names() datastores.NameRules {
	return datastores.NameRules{
		Database: `[A-Za-z0-9_]{1,48}`,
		User:     `[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}`,
		Host:     `%`,
		Password: `[ -~]{1,72}`,
		Reserved: []string{"system_"},
	}
}

// CreateDatabase implements [datastores.Databases]: a keyspace with as many copies as there are servers, at most three.
func (m *Manager) CreateDatabase(ctx context.Context, db datastores.Database) error {
	if db.CharacterSet != "" || db.Collate != "" {
		return datastores.Errorf(datastores.Invalid, "keyspaces have no character set or collation: everything is UTF-8")
	}
	return m.with(ctx, func(ctx context.Context, s *session) error {
		there, err := s.hasKeyspace(ctx, db.Name)
		if err != nil {
			return err
		}
		if there {
			return datastores.Errorf(datastores.Exists, "database %q exists", db.Name)
		}
		others, err := s.peers(ctx)
		if err != nil {
			return err
		}
		k := keyspace{name: db.Name, class: networked, copies: min(1+len(others), mostCopies)}
		return s.exec(ctx, "CREATE KEYSPACE "+name(k.name)+k.replication()+" AND durable_writes = true")
	})
}

// ListDatabases implements [datastores.Databases].
func (m *Manager) ListDatabases(ctx context.Context) (list []datastores.Database, err error) {
	err = m.with(ctx, func(ctx context.Context, s *session) error {
		list = nil
		var keyspace string
		return s.each(ctx, "SELECT keyspace_name FROM system_schema.keyspaces", func() {
			list = append(list, datastores.Database{Name: keyspace})
		}, &keyspace)
	})
	return list, err
}

// DeleteDatabase implements [datastores.Databases]. The server takes away what anybody was granted on it.
func (m *Manager) DeleteDatabase(ctx context.Context, database string) error {
	return m.with(ctx, func(ctx context.Context, s *session) error {
		there, err := s.hasKeyspace(ctx, database)
		if err != nil {
			return err
		}
		if !there || isSystem(database) {
			return datastores.Errorf(datastores.NotFound, "there is no database %q", database)
		}
		return s.exec(ctx, "DROP KEYSPACE "+name(database))
	})
}

func (s *session) hasKeyspace(ctx context.Context, keyspace string) (there bool, err error) {
	var found string
	err = s.each(ctx, "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = "+text(keyspace), func() { there = true }, &found)
	return there, err
}

func isSystem(keyspace string) bool {
	return keyspace == "system" || strings.HasPrefix(keyspace, "system_")
}
