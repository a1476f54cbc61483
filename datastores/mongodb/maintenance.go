package mongodb

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
)

const (
	replicaRole = "coffer_replica" // of accounts with which replicas' guests come
	adminRole   = "coffer_admin"   // of the guest's account, beside root
)

// maintain starts the server alone, without authorization and at its local socket only, where nobody gets but the server's user, and runs do. So
// the first account is made, a backup loaded over the accounts that are there, and a member taken out of its set. The server is stopped before
// and after.
func (m *Manager) maintain(ctx context.Context, do func(ctx context.Context, c *opmsg.Client) error) (err error) {
	if err := m.service.Stop(ctx); err != nil {
		return err
	}
	settings := m.common()
	settings["net.bindIp"] = "./maintenance.sock" // mongod takes paths of sockets here, and no address is among them
	settings["security.authorization"] = "disabled"
	if err := errors.Join(m.writeConfig(maintenanceFile, settings), m.own.Remove(tlsFile)); err != nil {
		return err
	}
	if err := m.maintenance.Start(ctx); err != nil {
		return err
	}
	defer func() {
		if stopErr := m.maintenance.Stop(context.WithoutCancel(ctx)); err == nil {
			err = stopErr
		}
	}()
	err = m.maintenance.Await(ctx, func(ctx context.Context) error {
		is, err := m.hello(ctx)
		if err == nil && !is.Primary {
			err = errors.New("it takes no writes yet")
		}
		return err
	})
	if err != nil {
		return err
	}
	c, err := m.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return do(ctx, c)
}

// secure makes the guest's account and roles as they have to be, whatever is there, and takes away the accounts of replicas.
func (m *Manager) secure(ctx context.Context, c *opmsg.Client) error {
	id, err := m.identity()
	if err != nil {
		return err
	}
	for name, privileges := range ownRoles() {
		role := bson.D{{Key: "privileges", Value: privileges}, {Key: "roles", Value: bson.A{}}}
		_, err := c.Call(ctx, adminDatabase, append(bson.D{{Key: "createRole", Value: name}}, role...))
		if opmsg.HasCode(err, roleExists) {
			_, err = c.Call(ctx, adminDatabase, append(bson.D{{Key: "updateRole", Value: name}}, role...))
		}
		if err != nil {
			return err
		}
	}
	account := bson.D{{Key: "pwd", Value: id.Admin}, {Key: "roles", Value: bson.A{"root", adminRole}}}
	if err := dropUser(ctx, c, adminUser); err != nil {
		return err
	}
	if _, err := c.Call(ctx, adminDatabase, append(bson.D{{Key: "createUser", Value: adminUser}}, account...)); err != nil {
		return err
	}
	return dropReplicas(ctx, c, nil)
}

// ownRoles are the roles that the guest makes: what root may not, and the little that a replica's guest has to.
func ownRoles() map[string]bson.A {
	cluster := bson.D{{Key: "cluster", Value: true}}
	return map[string]bson.A{
		adminRole: {bson.D{{Key: "resource", Value: cluster}, {Key: "actions", Value: bson.A{"bypassWriteBlockingMode", "setUserWriteBlockMode"}}}},
		replicaRole: {
			bson.D{{Key: "resource", Value: cluster}, {Key: "actions", Value: bson.A{"replSetGetConfig", "replSetConfigure", "replSetGetStatus"}}},
			bson.D{{Key: "resource", Value: bson.D{{Key: "db", Value: "local"}, {Key: "collection", Value: "oplog.rs"}}}, {Key: "actions", Value: bson.A{"find"}}},
		},
	}
}

// empty takes away all data. The server is stopped.
func (m *Manager) empty(ctx context.Context) error {
	if err := m.Stop(ctx); err != nil {
		return err
	}
	if err := m.data.Remove(dataFolder); err != nil && !missing(err) {
		return fmt.Errorf("cannot empty the data folder: %w", err)
	}
	return m.makeFolders()
}
