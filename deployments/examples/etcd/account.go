package etcd

import (
	"context"
	"regexp"

	"github.com/cofferdb/coffer/datastores"
)

const (
	guestUser  = "root"  // etcd asks for passwords only when there is one, who may do everything: it is the guest's
	tenantUser = "admin" // root of a tenant
	everything = "everything"
)

// What etcd says of what is so already.
const (
	userThere = "user name already exists"
	userGone  = "user name not found"
	roleThere = "role name already exists"
)

// passwordPattern: etcd's hash, bcrypt, takes 72 bytes and no more of a password.
var passwordPattern = regexp.MustCompile(`^.{1,72}$`)

type object = map[string]any

// makeAccounts has a server that is closed yet ask for passwords from now on.
func (m *Manager) makeAccounts(ctx context.Context, password string) error {
	c := m.own()
	allKeys := object{"permType": "READWRITE", "key": []byte{0}, "range_end": []byte{0}}
	for _, step := range []struct {
		path  string
		in    object
		known string // what etcd says when that is done already
	}{
		{"auth/user/add", object{"name": guestUser, "password": password}, userThere},
		{"auth/role/add", object{"name": guestUser}, roleThere},
		{"auth/user/grant", object{"user": guestUser, "role": guestUser}, ""},
		{"auth/role/add", object{"name": everything}, roleThere},
		{"auth/role/grant", object{"name": everything, "perm": allKeys}, ""},
		{"auth/enable", object{}, ""},
	} {
		if err := c.call(ctx, step.path, step.in, nil); err != nil && (step.known == "" || !refused(err, step.known)) {
			return err
		}
	}
	return nil
}

// EnableRoot implements [datastores.Root].
func (m *Manager) EnableRoot(ctx context.Context, password datastores.Secret) (string, error) {
	secret := password.Reveal()
	if !passwordPattern.MatchString(secret) || len(secret) > 72 {
		return "", datastores.Errorf(datastores.Invalid, "etcd takes passwords of 1 to 72 bytes, without line feeds")
	}
	account := object{"name": tenantUser, "password": secret}
	err := m.admin(ctx, m.own(), "auth/user/add", account, nil)
	if refused(err, userThere) {
		err = m.admin(ctx, m.own(), "auth/user/changepw", account, nil)
	}
	if err == nil {
		err = m.admin(ctx, m.own(), "auth/user/grant", object{"user": tenantUser, "role": everything}, nil)
	}
	return tenantUser, err
}

// RootEnabled implements [datastores.Root].
func (m *Manager) RootEnabled(ctx context.Context) (bool, error) {
	err := m.admin(ctx, m.own(), "auth/user/get", object{"name": tenantUser}, nil)
	if refused(err, userGone) {
		return false, nil
	}
	return err == nil, err
}

// DisableRoot implements [datastores.Root].
func (m *Manager) DisableRoot(ctx context.Context) error {
	err := m.admin(ctx, m.own(), "auth/user/delete", object{"name": tenantUser}, nil)
	if refused(err, userGone) {
		return nil
	}
	return err
}
