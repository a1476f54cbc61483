package datastoretest

import (
	"context"

	"github.com/cofferdb/coffer/datastores"
)

func (m *memoryManager) CreateUser(ctx context.Context, user datastores.User) error {
	return m.ask(ctx, func(s *memoryServer) error {
		key := at(user.Name, user.Host)
		if s.users[key] != nil {
			return datastores.Errorf(datastores.Exists, "user %q exists", user.Name)
		}
		if err := checkName("user", user.Name); err != nil {
			return err
		}
		u := &memoryUser{password: user.Password.Reveal(), access: map[string]bool{}}
		if err := s.hasDatabases(names(user.Databases)); err != nil {
			return err
		}
		for _, db := range user.Databases {
			u.access[db.Name] = true
		}
		s.users[key] = u
		return nil
	})
}

func (m *memoryManager) ListUsers(ctx context.Context) (list []datastores.User, err error) {
	err = m.ask(ctx, func(s *memoryServer) error {
		for key, u := range s.users {
			list = append(list, datastores.User{Name: key.name, Host: key.host, Databases: u.databases()})
		}
		return nil
	})
	return list, err
}

func (m *memoryManager) GetUser(ctx context.Context, name, host string) (user datastores.User, err error) {
	err = m.ask(ctx, func(s *memoryServer) error {
		u, err := s.user(name, host)
		if err == nil {
			user = datastores.User{Name: name, Host: at(name, host).host, Databases: u.databases()}
		}
		return err
	})
	return user, err
}

func (m *memoryManager) UpdateUser(ctx context.Context, name, host string, change datastores.UserChange) error {
	return m.ask(ctx, func(s *memoryServer) error {
		u, err := s.user(name, host)
		if err != nil {
			return err
		}
		was, is := at(name, host), at(name, host)
		if change.Name != "" {
			is.name = change.Name
		}
		if change.Host != "" {
			is.host = change.Host
		}
		if err := checkName("user", is.name); err != nil {
			return err
		}
		if is != was && s.users[is] != nil {
			return datastores.Errorf(datastores.Exists, "user %q exists", is.name)
		}
		if !change.Password.IsZero() {
			u.password = change.Password.Reveal()
		}
		delete(s.users, was)
		s.users[is] = u
		return nil
	})
}

func (m *memoryManager) DeleteUser(ctx context.Context, name, host string) error {
	return m.ask(ctx, func(s *memoryServer) error {
		if _, err := s.user(name, host); err != nil {
			return err
		}
		delete(s.users, at(name, host))
		return nil
	})
}

func (m *memoryManager) ListAccess(ctx context.Context, name, host string) (list []datastores.Database, err error) {
	err = m.ask(ctx, func(s *memoryServer) error {
		u, err := s.user(name, host)
		if err == nil {
			list = u.databases()
		}
		return err
	})
	return list, err
}

func (m *memoryManager) GrantAccess(ctx context.Context, name, host string, databases []string) error {
	return m.ask(ctx, func(s *memoryServer) error {
		u, err := s.user(name, host)
		if err != nil {
			return err
		}
		if err := s.hasDatabases(databases); err != nil {
			return err
		}
		for _, db := range databases {
			u.access[db] = true
		}
		return nil
	})
}

func (m *memoryManager) RevokeAccess(ctx context.Context, name, host, database string) error {
	return m.ask(ctx, func(s *memoryServer) error {
		u, err := s.user(name, host)
		if err != nil {
			return err
		}
		if !u.access[database] {
			return datastores.Errorf(datastores.NotFound, "user %q has no right on %q", name, database)
		}
		delete(u.access, database)
		return nil
	})
}
