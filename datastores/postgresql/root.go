package postgresql

import (
	"context"
	"crypto/rand"

	"github.com/cofferdb/coffer/datastores"
)

// rootUser is the tenants' root, which is made when it is first enabled. The guest's own is os_admin.
const rootUser = "postgres"

// EnableRoot implements [datastores.Root].
func (m *Manager) EnableRoot(ctx context.Context, password datastores.Secret) (string, error) {
	if err := checkPassword(password, rootUser); err != nil {
		return "", err
	}
	clause, err := withPassword(password)
	if err != nil {
		return "", err
	}
	return rootUser, m.with(ctx, func(s *session) error {
		found, err := roleExists(ctx, s, rootUser)
		if err != nil {
			return err
		}
		verb := "CREATE"
		if found {
			verb = "ALTER"
		}
		statement := verb + " ROLE " + identifier(rootUser) + " SUPERUSER LOGIN CONNECTION LIMIT -1 VALID UNTIL 'infinity'" + clause
		return failed(s.exec(ctx, statement), "cannot enable root")
	})
}

// DisableRoot implements [datastores.Root]. As in Trove nothing is dropped, what root owns stays; the role cannot log in,
// gets a password that nobody knows, and its sessions end.
func (m *Manager) DisableRoot(ctx context.Context) error {
	clause, err := withPassword(datastores.NewSecret(rand.Text()))
	if err != nil {
		return err
	}
	return m.with(ctx, func(s *session) error {
		found, err := roleExists(ctx, s, rootUser)
		if err != nil || !found {
			return err
		}
		err = s.exec(ctx, "ALTER ROLE "+identifier(rootUser)+" NOLOGIN"+clause)
		if err == nil {
			err = throwOut(ctx, s, rootUser)
		}
		return failed(err, "cannot disable root")
	})
}
