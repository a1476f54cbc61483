package redis

import (
	"cmp"
	"context"

	"github.com/cofferdb/coffer/datastores"
)

// userPattern is narrower than the server's rule, which is: no space and no zero byte.
const userPattern = `[A-Za-z0-9_][A-Za-z0-9_.@:+-]{0,63}`

// Names implements [datastores.Names]. Users come from anywhere.
func (m *Manager) Names() datastores.NameRules {
	return datastores.NameRules{User: userPattern, Host: "%?"}
}

// CreateUser implements [datastores.Users].
func (m *Manager) CreateUser(ctx context.Context, user datastores.User) error {
	if err := checkUser(user.Name, user.Host); err != nil {
		return err
	}
	for _, db := range user.Databases {
		if db.Name != "" {
			return datastores.Errorf(datastores.Invalid, "database %q: %s has no databases, a user may use everything", db.Name, m.variant.server())
		}
	}
	if err := m.checkFree(ctx, user.Name); err != nil {
		return err
	}
	return m.setAccount(ctx, account{Name: user.Name, Hashes: []string{hashed(user.Password.Reveal())}})
}

// ListUsers implements [datastores.Users]. Root and the guests' accounts are none.
func (m *Manager) ListUsers(ctx context.Context) ([]datastores.User, error) {
	all, err := m.accounts(ctx)
	if err != nil {
		return nil, err
	}
	var list []datastores.User
	for _, a := range tenants(all) {
		if a.Name != rootUser {
			list = append(list, datastores.User{Name: a.Name})
		}
	}
	return list, nil
}

// GetUser implements [datastores.Users].
func (m *Manager) GetUser(ctx context.Context, name, host string) (datastores.User, error) {
	a, err := m.findUser(ctx, name, host)
	return datastores.User{Name: a.Name}, err
}

// UpdateUser implements [datastores.Users]. A user keeps its password through a change of name.
func (m *Manager) UpdateUser(ctx context.Context, name, host string, change datastores.UserChange) error {
	a, err := m.findUser(ctx, name, host)
	if err != nil {
		return err
	}
	if !change.Password.IsZero() {
		a.Hashes = []string{hashed(change.Password.Reveal())}
	}
	to := cmp.Or(change.Name, name)
	if err := checkUser(to, change.Host); err != nil {
		return err
	}
	if to == name {
		return m.setAccount(ctx, a)
	}
	if err := m.checkFree(ctx, to); err != nil {
		return err
	}
	a.Name = to
	return m.replaceAccount(ctx, name, a)
}

// replaceAccount puts a in the place of the user old, both or none: a rename cut between the two could not be repeated.
func (m *Manager) replaceAccount(ctx context.Context, old string, a account) error {
	st, err := m.loadSide()
	if err != nil {
		return err
	}
	return m.talk(ctx, func(c *conn) error {
		for _, command := range [][]string{{"MULTI"}, a.set(st.ReadOnly), {"ACL", "DELUSER", old}, {"ACL", "SAVE"}} {
			if _, err := c.call(command...); err != nil {
				return err
			}
		}
		_, err := c.list("EXEC")
		return err
	})
}

func (m *Manager) checkFree(ctx context.Context, name string) error {
	_, err := m.findUser(ctx, name, "")
	switch {
	case err == nil:
		return datastores.Errorf(datastores.Exists, "user %q exists", name)
	case isNotFound(err):
		return nil
	}
	return err
}

// DeleteUser implements [datastores.Users].
func (m *Manager) DeleteUser(ctx context.Context, name, host string) error {
	if _, err := m.findUser(ctx, name, host); err != nil {
		if isNotFound(err) {
			_ = m.call(ctx, []string{"ACL", "SAVE"}) // an earlier try may have been cut before it
		}
		return err
	}
	return m.call(ctx, []string{"ACL", "DELUSER", name}, []string{"ACL", "SAVE"})
}

// findUser returns NotFound for what is no user of a tenant's: a replica's account must not be taken for one.
func (m *Manager) findUser(ctx context.Context, name, host string) (account, error) {
	if err := checkUser(name, host); err != nil {
		return account{}, err
	}
	all, err := m.accounts(ctx)
	if err != nil {
		return account{}, err
	}
	a, ok := findAccount(all, name)
	switch {
	case !ok:
		return account{}, datastores.Errorf(datastores.NotFound, "there is no user %q", name)
	case a.replica:
		return account{}, datastores.Errorf(datastores.Invalid, "user name %q is reserved", name)
	}
	return a, nil
}

// checkUser refuses names that no user of a tenant has.
func checkUser(name, host string) error {
	switch {
	case name == adminUser || name == rootUser || name == clusterUser:
		return datastores.Errorf(datastores.Invalid, "user name %q is reserved", name)
	case host != "" && host != "%":
		return datastores.Errorf(datastores.Invalid, "host %q: users of this datastore come from anywhere; leave the host out or say %%", host)
	}
	return nil
}

func isNotFound(err error) bool {
	e, ok := err.(*datastores.Error)
	return ok && e.Kind == datastores.NotFound
}
