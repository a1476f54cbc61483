package influxdb

import (
	"context"
	"slices"

	"github.com/cofferdb/coffer/datastores"
)

const rootUser = "root"

// CreateUser implements [datastores.Users].
func (m *Manager) CreateUser(ctx context.Context, user datastores.User) error {
	if _, err := m.find(ctx, user.Name); err == nil {
		return datastores.Errorf(datastores.Exists, "there is a user %q already", user.Name)
	} else if !isNotFound(err) {
		return err
	}
	var names []string
	for _, db := range user.Databases {
		names = append(names, db.Name)
	}
	if err := m.requireDatabases(ctx, names...); err != nil {
		return err
	}
	return m.change(ctx, append([]string{create(user.Name, user.Password)}, grants(user.Name, names)...)...)
}

// ListUsers implements [datastores.Users].
func (m *Manager) ListUsers(ctx context.Context) (list []datastores.User, err error) {
	rows, err := m.query(ctx, "SHOW USERS")
	for _, row := range rows {
		name := row[0].(string)
		names, err := m.access(ctx, name)
		if err != nil {
			return nil, err
		}
		list = append(list, datastores.User{Name: name, Databases: named(names)})
	}
	return list, err
}

// GetUser implements [datastores.Users].
func (m *Manager) GetUser(ctx context.Context, name, _ string) (user datastores.User, err error) {
	if _, err := m.find(ctx, name); err != nil {
		return user, err
	}
	names, err := m.access(ctx, name)
	return datastores.User{Name: name, Databases: named(names)}, err
}

// UpdateUser implements [datastores.Users]. The server cannot rename: the user is made anew, which needs a password. What an
// earlier try has made is taken: the server makes no difference when the password is the same.
func (m *Manager) UpdateUser(ctx context.Context, name, _ string, to datastores.UserChange) error {
	if _, err := m.find(ctx, name); err != nil {
		return err
	}
	if to.Name == "" || to.Name == name {
		if to.Password.IsZero() {
			return nil
		}
		return m.change(ctx, setPassword(name, to.Password))
	}
	if to.Password.IsZero() {
		if _, err := m.find(ctx, to.Name); err == nil {
			return datastores.Errorf(datastores.Exists, "there is a user %q already", to.Name)
		}
		return datastores.Errorf(datastores.Invalid, "user %q needs a new password with the new name", name)
	}
	names, err := m.access(ctx, name)
	if err != nil {
		return err
	}
	err = m.change(ctx, append(append([]string{create(to.Name, to.Password)}, grants(to.Name, names)...), "DROP USER "+identifier(name))...)
	if err != nil && err.Error() == "user already exists" {
		return datastores.Errorf(datastores.Exists, "there is a user %q already", to.Name)
	}
	return err
}

// DeleteUser implements [datastores.Users].
func (m *Manager) DeleteUser(ctx context.Context, name, _ string) error {
	if _, err := m.find(ctx, name); err != nil {
		return err
	}
	return m.change(ctx, "DROP USER "+identifier(name))
}

// ListAccess implements [datastores.Access].
func (m *Manager) ListAccess(ctx context.Context, name, _ string) ([]datastores.Database, error) {
	user, err := m.GetUser(ctx, name, "")
	return user.Databases, err
}

// GrantAccess implements [datastores.Access].
func (m *Manager) GrantAccess(ctx context.Context, name, _ string, databases []string) error {
	if _, err := m.find(ctx, name); err != nil {
		return err
	}
	if err := m.requireDatabases(ctx, databases...); err != nil {
		return err
	}
	return m.change(ctx, grants(name, databases)...)
}

// RevokeAccess implements [datastores.Access].
func (m *Manager) RevokeAccess(ctx context.Context, name, _, database string) error {
	user, err := m.GetUser(ctx, name, "")
	if err != nil {
		return err
	}
	if !slices.Contains(user.Databases, datastores.Database{Name: database}) {
		return datastores.Errorf(datastores.NotFound, "user %q has no right on database %q", name, database)
	}
	return m.change(ctx, "REVOKE ALL ON "+identifier(database)+" FROM "+identifier(name))
}

// EnableRoot implements [datastores.Root].
func (m *Manager) EnableRoot(ctx context.Context, password datastores.Secret) (string, error) {
	statement := setPassword(rootUser, password)
	if _, err := m.find(ctx, rootUser); isNotFound(err) {
		statement = create(rootUser, password)
	} else if err != nil {
		return "", err
	}
	return rootUser, m.change(ctx, statement, "GRANT ALL PRIVILEGES TO "+identifier(rootUser))
}

// DisableRoot implements [datastores.Root].
func (m *Manager) DisableRoot(ctx context.Context) error {
	if err := m.DeleteUser(ctx, rootUser, ""); !isNotFound(err) {
		return err
	}
	return nil
}

// RootEnabled implements [datastores.Root].
func (m *Manager) RootEnabled(ctx context.Context) (bool, error) {
	admin, err := m.find(ctx, rootUser)
	if isNotFound(err) {
		return false, nil
	}
	return admin, err
}

// find returns NotFound when there is no such user, and reports whether it may do everything.
func (m *Manager) find(ctx context.Context, name string) (admin bool, err error) {
	rows, err := m.query(ctx, "SHOW USERS")
	for _, row := range rows {
		if row[0] == name {
			return row[1] == true, err
		}
	}
	if err != nil {
		return false, err
	}
	return false, datastores.Errorf(datastores.NotFound, "there is no user %q", name)
}

// access are the databases that a user may use.
func (m *Manager) access(ctx context.Context, name string) (databases []string, err error) {
	rows, err := m.query(ctx, "SHOW GRANTS FOR "+identifier(name))
	for _, row := range rows {
		if row[1] != "NO PRIVILEGES" {
			databases = append(databases, row[0].(string))
		}
	}
	return databases, err
}

func create(name string, password datastores.Secret) string {
	return "CREATE USER " + identifier(name) + " WITH PASSWORD " + text(password.Reveal())
}

func setPassword(name string, password datastores.Secret) string {
	return "SET PASSWORD FOR " + identifier(name) + " = " + text(password.Reveal())
}

func grants(name string, databases []string) (statements []string) {
	for _, db := range databases {
		statements = append(statements, "GRANT ALL ON "+identifier(db)+" TO "+identifier(name))
	}
	return statements
}

func isNotFound(err error) bool {
	e, ok := err.(*datastores.Error)
	return ok && e.Kind == datastores.NotFound
}
