package couchbase

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// account is a user, as the server tells of it.
type account struct {
	Name   string `json:"id"`
	Domain string `json:"domain"`
	Roles  []role `json:"roles"`
}

type role struct {
	Name   string `json:"role"`
	Bucket string `json:"bucket_name"`
	Scope  string `json:"scope_name"`
}

const (
	users      = "/settings/rbac/users"
	localUsers = users + "/local"
	fullAccess = "bucket_full_access"
	everything = "*"
	readOnly   = "ro_admin"
)

func (r role) String() string {
	if r.Bucket == "" {
		return r.Name
	}
	return r.Name + "[" + r.Bucket + "]"
}

// databases are those that the user may use.
func (a account) databases() (names []string) {
	for _, r := range a.Roles {
		if r.Name == fullAccess && r.Bucket != everything {
			names = append(names, r.Bucket)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// without are the roles but for those on a database.
func (a account) without(db string) []role {
	return slices.DeleteFunc(slices.Clone(a.Roles), func(r role) bool { return r.Bucket == db })
}

func (a account) user() datastores.User {
	u := datastores.User{Name: a.Name, Host: "%"}
	for _, name := range a.databases() {
		u.Databases = append(u.Databases, datastores.Database{Name: name})
	}
	return u
}

// rights are the roles of a user on databases that he may use.
func rights(databases []string) (roles []role) {
	for _, db := range databases {
		roles = append(roles, role{Name: fullAccess, Bucket: db})
	}
	return roles
}

// list is roles as the server reads them.
func list(roles []role) string {
	var texts []string
	for _, r := range roles {
		texts = append(texts, r.String())
	}
	slices.Sort(texts)
	return strings.Join(slices.Compact(texts), ",")
}

// accounts are the users whose passwords the server has.
func (m *Manager) accounts(ctx context.Context) (all []account, err error) {
	err = m.call(ctx, "GET", users, nil, &all)
	return slices.DeleteFunc(all, func(a account) bool { return a.Domain != "local" }), err
}

func (m *Manager) account(ctx context.Context, user string) (a account, err error) {
	err = m.call(ctx, "GET", localUsers+name(user), nil, &a)
	if isStatus(err, http.StatusNotFound) {
		return a, datastores.Errorf(datastores.NotFound, "there is no user %q", user)
	}
	return a, err
}

// putUser makes a user, or changes one; without a password it keeps its own.
func (m *Manager) putUser(ctx context.Context, user string, password datastores.Secret, roles []role) error {
	form := url.Values{"roles": {list(roles)}}
	if !password.IsZero() {
		form.Set("password", password.Reveal())
	}
	err := m.call(ctx, "PUT", localUsers+name(user), form, nil)
	if isStatus(err, http.StatusBadRequest) {
		return datastores.Errorf(datastores.Invalid, "the server does not take user %q: %v", user, err)
	}
	return err
}

func (m *Manager) setRoles(ctx context.Context, user string, roles []role) error {
	return m.putUser(ctx, user, datastores.Secret{}, roles)
}

// dropUser returns nil when there is none.
func (m *Manager) dropUser(ctx context.Context, user string) error {
	err := m.call(ctx, "DELETE", localUsers+name(user), nil, nil)
	if isStatus(err, http.StatusNotFound) {
		return nil
	}
	return err
}

// free returns Exists when there is a user of that name.
func (m *Manager) free(ctx context.Context, user string) error {
	switch _, err := m.account(ctx, user); {
	case err == nil:
		return datastores.Errorf(datastores.Exists, "user %q exists", user)
	case isKind(err, datastores.NotFound):
		return nil
	default:
		return err
	}
}

// CreateUser implements [datastores.Users].
func (m *Manager) CreateUser(ctx context.Context, user datastores.User) error {
	if err := m.finishRename(ctx); err != nil {
		return err
	}
	if err := m.free(ctx, user.Name); err != nil {
		return err
	}
	if err := m.checkDatabases(ctx, names(user.Databases)); err != nil {
		return err
	}
	return m.putUser(ctx, user.Name, user.Password, rights(names(user.Databases)))
}

// ListUsers implements [datastores.Users].
func (m *Manager) ListUsers(ctx context.Context) (all []datastores.User, err error) {
	if err := m.finishRename(ctx); err != nil {
		return nil, err
	}
	accounts, err := m.accounts(ctx)
	for _, a := range accounts {
		all = append(all, a.user())
	}
	return all, err
}

// GetUser implements [datastores.Users].
func (m *Manager) GetUser(ctx context.Context, user, _ string) (datastores.User, error) {
	if err := m.finishRename(ctx); err != nil {
		return datastores.User{}, err
	}
	a, err := m.account(ctx, user)
	return a.user(), err
}

// UpdateUser implements [datastores.Users], see rename.go.
func (m *Manager) UpdateUser(ctx context.Context, user, _ string, change datastores.UserChange) error {
	if err := m.finishRename(ctx); err != nil {
		return err
	}
	a, err := m.account(ctx, user)
	if err != nil {
		return err
	}
	if change.Name != "" && change.Name != user {
		return m.rename(ctx, a, change)
	}
	if change.Password.IsZero() {
		return nil
	}
	return m.call(ctx, "PATCH", localUsers+name(user), url.Values{"password": {change.Password.Reveal()}}, nil)
}

// DeleteUser implements [datastores.Users].
func (m *Manager) DeleteUser(ctx context.Context, user, _ string) error {
	if err := m.finishRename(ctx); err != nil {
		return err
	}
	if _, err := m.account(ctx, user); err != nil {
		return err
	}
	return m.dropUser(ctx, user)
}

// ListAccess implements [datastores.Access].
func (m *Manager) ListAccess(ctx context.Context, user, host string) ([]datastores.Database, error) {
	u, err := m.GetUser(ctx, user, host)
	return u.Databases, err
}

// GrantAccess implements [datastores.Access].
func (m *Manager) GrantAccess(ctx context.Context, user, _ string, databases []string) error {
	if err := m.finishRename(ctx); err != nil {
		return err
	}
	a, err := m.account(ctx, user)
	if err != nil {
		return err
	}
	if err := m.checkDatabases(ctx, databases); err != nil {
		return err
	}
	return m.setRoles(ctx, user, append(a.Roles, rights(databases)...))
}

// RevokeAccess implements [datastores.Access].
func (m *Manager) RevokeAccess(ctx context.Context, user, _, database string) error {
	if err := m.finishRename(ctx); err != nil {
		return err
	}
	a, err := m.account(ctx, user)
	if err != nil {
		return err
	}
	if !slices.Contains(a.databases(), database) {
		return datastores.Errorf(datastores.NotFound, "user %q has no access to database %q", user, database)
	}
	return m.setRoles(ctx, user, a.without(database))
}

func names(list []datastores.Database) (all []string) {
	for _, db := range list {
		all = append(all, db.Name)
	}
	return all
}
