package cassandra

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/crypto/bcrypt"

	"github.com/cofferdb/coffer/datastores"
)

// role is one of the server's. A user is a role that may log in: so what is not yet made wholly, or not yet gone wholly, is none.
type role struct {
	name        string
	login       bool
	super       bool
	hash        string
	permissions []permission
}

// CreateUser implements [datastores.Users]. The user may log in when all is done.
func (m *Manager) CreateUser(ctx context.Context, user datastores.User) error {
	if err := checkHost(user.Host); err != nil {
		return err
	}
	hash, err := m.hash(user.Name, user.Password)
	if err != nil {
		return err
	}
	return m.with(ctx, func(ctx context.Context, s *session) error {
		if is, err := s.role(ctx, user.Name); err == nil && is.login {
			return datastores.Errorf(datastores.Exists, "user %q exists", user.Name)
		} else if err != nil && !isMissing(err) {
			return err
		}
		var databases []string
		for _, db := range user.Databases {
			databases = append(databases, db.Name)
		}
		if err := s.wantKeyspaces(ctx, databases); err != nil {
			return err
		}
		if err := s.exec(ctx, "CREATE ROLE IF NOT EXISTS "+name(user.Name)+" WITH LOGIN = false"); err != nil {
			return err
		}
		if err := s.grant(ctx, user.Name, databases); err != nil {
			return err
		}
		return s.exec(ctx, "ALTER ROLE "+name(user.Name)+" WITH HASHED PASSWORD = "+text(hash)+" AND LOGIN = true")
	})
}

// ListUsers implements [datastores.Users].
func (m *Manager) ListUsers(ctx context.Context) (list []datastores.User, err error) {
	err = m.with(ctx, func(ctx context.Context, s *session) error {
		roles, err := s.roles(ctx, "")
		if err != nil {
			return err
		}
		list = nil
		for _, r := range roles {
			if r.login {
				list = append(list, r.user())
			}
		}
		return nil
	})
	return list, err
}

// GetUser implements [datastores.Users].
func (m *Manager) GetUser(ctx context.Context, user, host string) (found datastores.User, err error) {
	err = m.with(ctx, func(ctx context.Context, s *session) error {
		r, err := s.login(ctx, user, host)
		found = r.user()
		return err
	})
	return found, err
}

// UpdateUser implements [datastores.Users]. The server cannot rename: another role gets everything, and then the old one goes. The
// old one is no user any more when the new one becomes one.
func (m *Manager) UpdateUser(ctx context.Context, user, host string, change datastores.UserChange) error {
	if err := checkHost(change.Host); err != nil {
		return err
	}
	hash := ""
	if !change.Password.IsZero() {
		var err error
		if hash, err = m.hash(user, change.Password); err != nil {
			return err
		}
	}
	return m.with(ctx, func(ctx context.Context, s *session) error {
		is, err := s.role(ctx, user)
		if err != nil {
			return err
		}
		if change.Name != "" && change.Name != user {
			return m.rename(ctx, s, is, change.Name, hash)
		}
		if !is.login {
			return missing(user)
		}
		if hash == "" {
			return nil
		}
		return errors.Join(s.exec(ctx, "ALTER ROLE "+name(user)+" WITH HASHED PASSWORD = "+text(hash)), m.endSessions(ctx, s, user))
	})
}

func (m *Manager) rename(ctx context.Context, s *session, is role, to, hash string) error {
	other, err := s.role(ctx, to)
	if err != nil && !isMissing(err) {
		return err
	}
	switch {
	case other.login && is.login:
		return datastores.Errorf(datastores.Exists, "user %q exists", to)
	case !other.login:
		if hash == "" {
			hash = is.hash
		}
		if err := s.exec(ctx, "CREATE ROLE IF NOT EXISTS "+name(to)+" WITH LOGIN = false"); err != nil {
			return err
		}
		for _, p := range is.permissions {
			if err := s.exec(ctx, p.grantTo(to)...); err != nil {
				return err
			}
		}
		if err := s.exec(ctx,
			"ALTER ROLE "+name(is.name)+" WITH LOGIN = false",
			"ALTER ROLE "+name(to)+" WITH HASHED PASSWORD = "+text(hash)+" AND LOGIN = true",
		); err != nil {
			return err
		}
	}
	return m.drop(ctx, s, is.name)
}

// DeleteUser implements [datastores.Users].
func (m *Manager) DeleteUser(ctx context.Context, user, host string) error {
	return m.with(ctx, func(ctx context.Context, s *session) error {
		if err := checkHost(host); err != nil {
			return missing(user)
		}
		if _, err := s.role(ctx, user); err != nil {
			return err
		}
		return m.drop(ctx, s, user)
	})
}

// drop takes a role away. Its sessions go first, when nobody can begin another: the last call must find what is left to do.
func (m *Manager) drop(ctx context.Context, s *session, user string) error {
	if err := s.exec(ctx, "ALTER ROLE "+name(user)+" WITH LOGIN = false"); err != nil {
		return err
	}
	if err := m.endSessions(ctx, s, user); err != nil {
		return err
	}
	return m.with(ctx, func(ctx context.Context, s *session) error { return s.exec(ctx, "DROP ROLE IF EXISTS "+name(user)) })
}

// hash is what the server keeps of a password, so that it never sees the password itself.
func (m *Manager) hash(user string, password datastores.Secret) (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password.Reveal()), m.options.BcryptCost)
	if err != nil {
		return "", datastores.Errorf(datastores.Invalid, "the password of %q cannot be used: want 1 to 72 bytes", user)
	}
	return string(hash), nil
}

// login is a role that is a user.
func (s *session) login(ctx context.Context, user, host string) (role, error) {
	r, err := s.role(ctx, user)
	if err == nil && (!r.login || checkHost(host) != nil) {
		err = missing(user)
	}
	return r, err
}

// role returns one with what it may, NotFound when there is none.
func (s *session) role(ctx context.Context, user string) (role, error) {
	found, err := s.roles(ctx, " WHERE role = "+text(user))
	if err == nil && len(found) == 0 {
		err = missing(user)
	}
	if err != nil {
		return role{}, err
	}
	return found[0], nil
}

func (s *session) roles(ctx context.Context, where string) (list []role, err error) {
	may := map[string][]permission{}
	var p permission
	var of string
	if err := s.each(ctx, "SELECT role, resource, permissions FROM system_auth.role_permissions"+where, func() {
		may[of] = append(may[of], permission{p.resource, append([]string(nil), p.rights...)})
	}, &of, &p.resource, &p.rights); err != nil {
		return nil, err
	}
	var r role
	err = s.each(ctx, "SELECT role, can_login, is_superuser, salted_hash FROM system_auth.roles"+where, func() {
		r.permissions = may[r.name]
		list = append(list, r)
	}, &r.name, &r.login, &r.super, &r.hash)
	return list, err
}

func (r role) user() datastores.User {
	u := datastores.User{Name: r.name, Host: "%"}
	for _, database := range r.databases() {
		u.Databases = append(u.Databases, datastores.Database{Name: database})
	}
	return u
}

func missing(user string) error {
	return datastores.Errorf(datastores.NotFound, "there is no user %q", user)
}

func isMissing(err error) bool {
	var e *datastores.Error
	return errors.As(err, &e) && e.Kind == datastores.NotFound
}

func checkHost(host string) error {
	if host != "" && host != "%" {
		return datastores.Errorf(datastores.Invalid, "%s", fmt.Sprintf("users of cassandra may come from any host: %q cannot be said", host))
	}
	return nil
}
