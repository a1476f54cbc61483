package mysql

import (
	"context"
	"crypto/rand"
	"database/sql"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

const rootUser = "root"

// root is the tenants' root. No other root account is made: the guest's own is os_admin.
var root = account{name: rootUser, host: "%"}

// EnableRoot implements [datastores.Root]. Root may do everything but write where others may not: on a replica, which
// would not be one any more. So it cannot hand on ALL ON *.* either; ALL on a database, and every other right, it can.
func (m *Manager) EnableRoot(ctx context.Context, password datastores.Secret) (string, error) {
	return rootUser, m.change(ctx, func(db *sql.DB) error {
		err := execute(ctx, db,
			"CREATE USER IF NOT EXISTS "+root.sql()+m.variant.identified(password)+" ACCOUNT LOCK",
			"GRANT ALL PRIVILEGES ON *.* TO "+root.sql()+" WITH GRANT OPTION",
			m.variant.dialect.revokeReadOnlyAdmin(root),
			"ALTER USER "+root.sql()+m.variant.identified(password)+" ACCOUNT UNLOCK")
		if err != nil {
			return failed(err, "cannot enable root")
		}
		return root.endSessions(ctx, db) // of an earlier password
	})
}

// DisableRoot implements [datastores.Root]. As in Trove nothing is dropped, what root owns stays; the account is locked,
// gets a password that nobody knows, and its sessions end.
func (m *Manager) DisableRoot(ctx context.Context) error {
	return m.change(ctx, func(db *sql.DB) error {
		lock := "ALTER USER IF EXISTS " + root.sql() + m.variant.identified(datastores.NewSecret(rand.Text())) + " ACCOUNT LOCK"
		if err := execute(ctx, db, lock); err != nil {
			return failed(err, "cannot disable root")
		}
		return root.endSessions(ctx, db)
	})
}

// RootEnabled implements [datastores.Root].
func (m *Manager) RootEnabled(ctx context.Context) (enabled bool, err error) {
	return enabled, m.session(func(db *sql.DB) error {
		found, err := m.has(ctx, db, root)
		if err != nil || !found {
			return err
		}
		var made string
		err = db.QueryRowContext(ctx, "SHOW CREATE USER "+root.sql()).Scan(&made)
		enabled = !strings.Contains(made, " ACCOUNT LOCK")
		return failed(err, "cannot look at root")
	})
}
