package redis

import (
	"context"
	"fmt"

	"github.com/cofferdb/coffer/datastores"
)

const (
	rootName = "-"       // what Trove calls redis's root: it has a password and no name
	rootUser = "default" // what the server calls it
)

// EnableRoot implements [datastores.Root]. The server keeps only a hash of the password.
func (m *Manager) EnableRoot(ctx context.Context, password datastores.Secret) (string, error) {
	return rootName, m.setRoot(ctx, account{Name: rootUser, Hashes: []string{hashed(password.Reveal())}})
}

// DisableRoot implements [datastores.Root].
func (m *Manager) DisableRoot(ctx context.Context) error {
	return m.setRoot(ctx, account{Name: rootUser})
}

// RootEnabled implements [datastores.Root].
func (m *Manager) RootEnabled(ctx context.Context) (bool, error) {
	all, err := m.accounts(ctx)
	root, _ := findAccount(all, rootUser)
	return root.on(), err
}

func (m *Manager) setRoot(ctx context.Context, root account) error {
	if err := m.setAccount(ctx, root); err != nil {
		return fmt.Errorf("cannot change root: %w", err)
	}
	return nil
}

// setAccount makes a, in the ACL file too, and ends the connections that it had under the old rules.
func (m *Manager) setAccount(ctx context.Context, a account) error {
	st, err := m.loadSide()
	if err != nil {
		return err
	}
	return m.call(ctx, a.set(st.ReadOnly), []string{"ACL", "SAVE"}, []string{"CLIENT", "KILL", "USER", a.Name})
}
