package cassandra

import (
	"context"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// permission is what a role may do with a resource, as the server stores it: data/KEYSPACE/TABLE, functions/KEYSPACE/…, roles/ROLE.
type permission struct {
	resource string
	rights   []string
}

// keyspace is the one that the resource is, or is in; "" for what is in none.
func (p permission) keyspace() string {
	parts := strings.SplitN(p.resource, "/", 3)
	if len(parts) > 1 && (parts[0] == "data" || parts[0] == "functions") {
		return parts[1]
	}
	return ""
}

// object is the resource in CQL; "" for one that tenants have no use of.
func (p permission) object() string {
	switch parts := strings.SplitN(p.resource, "/", 3); {
	case p.resource == "data":
		return "ALL KEYSPACES"
	case p.resource == "roles":
		return "ALL ROLES"
	case p.resource == "functions":
		return "ALL FUNCTIONS"
	case parts[0] == "roles":
		return "ROLE " + name(strings.Join(parts[1:], "/"))
	case parts[0] == "data" && len(parts) == 2:
		return "KEYSPACE " + name(parts[1])
	case parts[0] == "data" && strings.HasSuffix(p.resource, "/*"):
		return "ALL TABLES IN KEYSPACE " + name(parts[1])
	case parts[0] == "data":
		return "TABLE " + name(parts[1]) + "." + name(parts[2])
	case parts[0] == "functions" && len(parts) == 2:
		return "ALL FUNCTIONS IN KEYSPACE " + name(parts[1])
	}
	return ""
}

// grantTo gives the same to another role.
func (p permission) grantTo(user string) (statements []string) {
	if p.object() == "" {
		return nil
	}
	for _, right := range p.rights {
		statements = append(statements, "GRANT "+right+" ON "+p.object()+" TO "+name(user))
	}
	return statements
}

// databases are the keyspaces with which a role may do anything.
func (r role) databases() (names []string) {
	for _, p := range r.permissions {
		if keyspace := p.keyspace(); keyspace != "" && strings.HasPrefix(p.resource, "data/") && len(p.rights) > 0 {
			names = append(names, keyspace)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ListAccess implements [datastores.Access].
func (m *Manager) ListAccess(ctx context.Context, user, host string) ([]datastores.Database, error) {
	u, err := m.GetUser(ctx, user, host)
	return u.Databases, err
}

// GrantAccess implements [datastores.Access].
func (m *Manager) GrantAccess(ctx context.Context, user, host string, databases []string) error {
	return m.with(ctx, func(ctx context.Context, s *session) error {
		if _, err := s.login(ctx, user, host); err != nil {
			return err
		}
		if err := s.wantKeyspaces(ctx, databases); err != nil {
			return err
		}
		return s.grant(ctx, user, databases)
	})
}

// RevokeAccess implements [datastores.Access]. Whoever makes a table may do everything with it, and keeps that when the keyspace is
// taken away: so everything inside is taken, too, and the keyspace last.
func (m *Manager) RevokeAccess(ctx context.Context, user, host, database string) error {
	return m.with(ctx, func(ctx context.Context, s *session) error {
		r, err := s.login(ctx, user, host)
		if err != nil {
			return err
		}
		if !slices.Contains(r.databases(), database) {
			return datastores.Errorf(datastores.NotFound, "user %q has no access to database %q", user, database)
		}
		slices.SortFunc(r.permissions, func(a, b permission) int { return len(b.resource) - len(a.resource) })
		for _, p := range r.permissions {
			if p.keyspace() != database || p.object() == "" {
				continue
			}
			if err := s.exec(ctx, "REVOKE ALL PERMISSIONS ON "+p.object()+" FROM "+name(user)); err != nil {
				return err
			}
		}
		return nil
	})
}

// grant gives all rights on keyspaces but that to hand them on.
func (s *session) grant(ctx context.Context, user string, databases []string) error {
	for _, database := range databases {
		keyspace := " ON KEYSPACE " + name(database)
		if err := s.exec(ctx, "GRANT ALL PERMISSIONS"+keyspace+" TO "+name(user), "REVOKE AUTHORIZE"+keyspace+" FROM "+name(user)); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) wantKeyspaces(ctx context.Context, databases []string) error {
	for _, database := range databases {
		there, err := s.hasKeyspace(ctx, database)
		if err != nil {
			return err
		}
		if !there || isSystem(database) {
			return datastores.Errorf(datastores.NotFound, "there is no database %q", database)
		}
	}
	return nil
}
