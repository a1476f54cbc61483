package mongodb

import (
	"context"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
)

const rootUser = "root"

// rootRoles are all rights on data, and to look at how the server is. MongoDB's role root could make users, drop the guest's account, take the server out of
// its set and end it.
func rootRoles() []role {
	return []role{{"readWriteAnyDatabase", adminDatabase}, {"dbAdminAnyDatabase", adminDatabase}, {"clusterMonitor", adminDatabase}}
}

// EnableRoot implements [datastores.Root]. It makes the account anew, so that sessions with the password before end.
func (m *Manager) EnableRoot(ctx context.Context, password datastores.Secret) (string, error) {
	return rootUser, m.lead(ctx, func(c *opmsg.Client) error {
		if err := dropUser(ctx, c, rootUser); err != nil {
			return err
		}
		return makeUser(ctx, c, rootUser, password.Reveal(), rootRoles())
	})
}

// DisableRoot implements [datastores.Root].
func (m *Manager) DisableRoot(ctx context.Context) error {
	return m.lead(ctx, func(c *opmsg.Client) error { return dropUser(ctx, c, rootUser) })
}

// RootEnabled implements [datastores.Root].
func (m *Manager) RootEnabled(ctx context.Context) (on bool, err error) {
	if id, err := m.identity(); err != nil || id.Cluster != nil && !id.Ready { // a member that has not joined has no accounts
		return false, err
	}
	err = m.lead(ctx, func(c *opmsg.Client) error {
		list, err := listAccounts(ctx, c, rootUser)
		on = len(list) > 0
		return err
	})
	return on, err
}
