package mysql

import (
	"context"
	"crypto/rand"

	"github.com/cofferdb/coffer/datastores"
)

const rootUser = "root"

// root is the tenants' root. No other root account is made: the guest's own is os_admin.
var root = account{name: rootUser, host: "%"}

// EnableRoot implements [datastores.Root].
func (m *Manager) EnableRoot(ctx context.Context, password datastores.Secret) (string, error) {
	if password.IsZero() {
		return "", datastores.Errorf(datastores.Invalid, "root needs a password")
	}
	return rootUser, m.onRoot(ctx, "cannot enable root",
		"CREATE USER IF NOT EXISTS "+root.sql()+identified(password)+" ACCOUNT LOCK",
		"GRANT ALL PRIVILEGES ON *.* TO "+root.sql()+" WITH GRANT OPTION",
		"ALTER USER "+root.sql()+identified(password)+" ACCOUNT UNLOCK",
	)
}

// DisableRoot implements [datastores.Root]. As in Trove nothing is dropped, what root owns stays; the account is locked,
// gets a password that nobody knows, and its sessions end.
func (m *Manager) DisableRoot(ctx context.Context) error {
	return m.onRoot(ctx, "cannot disable root",
		"ALTER USER IF EXISTS "+root.sql()+identified(datastores.NewSecret(rand.Text()))+" ACCOUNT LOCK",
		"KILL HARD CONNECTION USER "+root.sql(),
	)
}

func (m *Manager) onRoot(ctx context.Context, doing string, statements ...string) error {
	db, err := m.connect()
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	for _, s := range statements {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return failed(err, "%s", doing)
		}
	}
	return nil
}
