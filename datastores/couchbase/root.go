package couchbase

import (
	"context"

	"github.com/cofferdb/coffer/datastores"
)

const rootUser = "root"

// rootRoles are all rights on data, and to look at how the server is. Couchbase's role admin could take the server from its guest.
func rootRoles() []role {
	return []role{{Name: fullAccess, Bucket: everything}, {Name: readOnly}}
}

// EnableRoot implements [datastores.Root].
func (m *Manager) EnableRoot(ctx context.Context, password datastores.Secret) (string, error) {
	return rootUser, m.putUser(ctx, rootUser, password, rootRoles())
}

// DisableRoot implements [datastores.Root].
func (m *Manager) DisableRoot(ctx context.Context) error { return m.dropUser(ctx, rootUser) }

// RootEnabled implements [datastores.Root].
func (m *Manager) RootEnabled(ctx context.Context) (bool, error) {
	_, err := m.account(ctx, rootUser)
	if isKind(err, datastores.NotFound) {
		return false, nil
	}
	return err == nil, err
}
