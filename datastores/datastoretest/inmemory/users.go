package inmemory

import (
	"cmp"
	"context"
	"slices"

	"github.com/cofferdb/coffer/datastores"
)

func (m *manager) CreateUser(ctx context.Context, user datastores.User) error {
	return m.ask(ctx, func(s *server) error {
		u := &tenant{at(user.Name, user.Host), []byte(user.Password.Reveal()), namesOf(user.Databases)}
		if s.users[u.account] != nil {
			return datastores.Errorf(datastores.Exists, "user %q exists", user.Name)
		}
		if err := s.hasDatabases(u.Access); err != nil {
			return err
		}
		return s.change(change{PutUser: u})
	})
}

func (m *manager) ListUsers(ctx context.Context) (list []datastores.User, err error) {
	err = m.ask(ctx, func(s *server) error {
		for key, u := range s.users {
			list = append(list, datastores.User{Name: key.Name, Host: key.Host, Databases: u.databases()})
		}
		return nil
	})
	return list, err
}

func (m *manager) GetUser(ctx context.Context, name, host string) (user datastores.User, err error) {
	err = m.askUser(ctx, name, host, func(_ *server, u tenant) error {
		user = datastores.User{Name: u.Name, Host: u.Host, Databases: u.databases()}
		return nil
	})
	return user, err
}

func (m *manager) UpdateUser(ctx context.Context, name, host string, to datastores.UserChange) error {
	return m.askUser(ctx, name, host, func(s *server, u tenant) error {
		was := u.account
		u.account = account{cmp.Or(to.Name, u.Name), cmp.Or(to.Host, u.Host)}
		if u.account != was && s.users[u.account] != nil {
			return datastores.Errorf(datastores.Exists, "user %q exists", u.Name)
		}
		if !to.Password.IsZero() {
			u.Password = []byte(to.Password.Reveal())
		}
		return s.change(change{DropUser: &was, PutUser: &u})
	})
}

func (m *manager) DeleteUser(ctx context.Context, name, host string) error {
	return m.askUser(ctx, name, host, func(s *server, u tenant) error {
		if err := s.free(); err != nil {
			return err
		}
		return s.change(change{DropUser: &u.account})
	})
}

func (m *manager) ListAccess(ctx context.Context, name, host string) (list []datastores.Database, err error) {
	err = m.askUser(ctx, name, host, func(_ *server, u tenant) error {
		list = u.databases()
		return nil
	})
	return list, err
}

func (m *manager) GrantAccess(ctx context.Context, name, host string, databases []string) error {
	return m.askUser(ctx, name, host, func(s *server, u tenant) error {
		if err := s.hasDatabases(databases); err != nil {
			return err
		}
		u.Access = slices.Compact(slices.Sorted(slices.Values(append(u.Access, databases...))))
		return s.change(change{PutUser: &u})
	})
}

func (m *manager) RevokeAccess(ctx context.Context, name, host, database string) error {
	return m.askUser(ctx, name, host, func(s *server, u tenant) error {
		if !u.has(database) {
			return datastores.Errorf(datastores.NotFound, "user %q has no right on %q", name, database)
		}
		u.Access = slices.DeleteFunc(u.Access, func(db string) bool { return db == database })
		return s.change(change{PutUser: &u})
	})
}

// askUser is ask with a copy of a user who is there.
func (m *manager) askUser(ctx context.Context, name, host string, f func(*server, tenant) error) error {
	return m.ask(ctx, func(s *server) error {
		u := s.users[at(name, host)]
		if u == nil {
			return datastores.Errorf(datastores.NotFound, "there is no user %q", name)
		}
		copied := *u
		copied.Access = slices.Clone(u.Access)
		return f(s, copied)
	})
}

// at is the key of a user; no host is any host.
func at(name, host string) account { return account{name, cmp.Or(host, "%")} }

func (u *tenant) databases() []datastores.Database {
	var list []datastores.Database
	for _, name := range u.Access {
		list = append(list, datastores.Database{Name: name})
	}
	return list
}

// namesOf are the names of databases, in their order.
func namesOf(list []datastores.Database) (all []string) {
	for _, db := range list {
		all = append(all, db.Name)
	}
	slices.Sort(all)
	return all
}
