package mongodb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
	"github.com/cofferdb/coffer/datastores/service"
)

const pollEvery = 50 * time.Millisecond

// ReplicationStrategies implements [datastores.Replication]. A replica is a member of its source's set that does not vote, and copies the
// data itself (initial sync).
func (m *Manager) ReplicationStrategies() []datastores.ReplicationStrategy {
	return []datastores.ReplicationStrategy{{
		StrategyName: datastores.StrategyName{Namespace: "mongodb_set", Name: "MongoReplicaSet"},
		Source:       datastores.SourceSide{AddReplica: m.addReplica, RemoveReplica: m.removeReplica, SetReadOnly: m.setReadOnly},
		Replica:      datastores.ReplicaSide{Attach: m.attach, Detach: m.detach, WaitFor: m.waitFor, Promote: m.promote},
		Position:     m.position,
	}}
}

// addReplica makes the account with which a replica's guest comes. What the replica needs to be a member is sealed with the account's password, in
// the account's own data, which it may read.
func (m *Manager) addReplica(ctx context.Context, a datastores.ReplicaAccount) error {
	return m.talk(ctx, func(c *opmsg.Client) error { return m.admit(ctx, c, a) })
}

func (m *Manager) admit(ctx context.Context, c *opmsg.Client, a datastores.ReplicaAccount) error {
	id, err := m.identity()
	if err != nil {
		return err
	}
	sealed, err := seal(a, ticket{id.Set, id.Key, id.Admin})
	if err != nil {
		return err
	}
	fields := bson.D{
		{Key: "pwd", Value: a.Password.Reveal()}, {Key: "roles", Value: bson.A{role{replicaRole, adminDatabase}}},
		{Key: "mechanisms", Value: bson.A{"SCRAM-SHA-256"}}, {Key: "customData", Value: bson.D{{Key: "sealed", Value: sealed}}}, durable(),
	}
	_, err = c.Call(ctx, adminDatabase, append(bson.D{{Key: "createUser", Value: a.User}}, fields...))
	if opmsg.HasCode(err, userExists) {
		_, err = c.Call(ctx, adminDatabase, append(bson.D{{Key: "updateUser", Value: a.User}}, fields...))
	}
	return err
}

func (m *Manager) removeReplica(ctx context.Context, a datastores.ReplicaAccount) error {
	return m.talk(ctx, func(c *opmsg.Client) error {
		if a.Address != "" {
			if err := takeOut(ctx, c, a.Address); err != nil {
				return err
			}
		}
		return dropUser(ctx, c, a.User)
	})
}

// dropReplicas takes away the accounts of replicas, but for those that are kept.
func dropReplicas(ctx context.Context, c *opmsg.Client, keep []datastores.ReplicaAccount) error {
	list, err := listAccounts(ctx, c, "")
	if err != nil {
		return err
	}
	for _, a := range list {
		kept := slices.ContainsFunc(keep, func(k datastores.ReplicaAccount) bool { return k.User == a.Name })
		if !a.replicas() || kept {
			continue
		}
		if err := dropUser(ctx, c, a.Name); err != nil {
			return err
		}
	}
	return nil
}

// setReadOnly blocks writes of everybody but the guest. The server remembers that in its data; it waits for writes that are under way.
func (m *Manager) setReadOnly(ctx context.Context, on bool) error {
	return m.talk(ctx, func(c *opmsg.Client) error { return blockWrites(ctx, c, on) })
}

func blockWrites(ctx context.Context, c *opmsg.Client, on bool) error {
	_, err := c.Call(ctx, adminDatabase, bson.D{{Key: "setUserWriteBlockMode", Value: 1}, {Key: "global", Value: on}, durable()})
	return err
}

func (m *Manager) position(ctx context.Context) (p datastores.Position, err error) {
	err = m.talk(ctx, func(c *opmsg.Client) error {
		st, err := setStatus(ctx, c)
		p = st.OpTimes.Durable.position()
		return err
	})
	return p, err
}

func (m *Manager) waitFor(ctx context.Context, p datastores.Position) error {
	for {
		at, err := m.position(ctx)
		if err == nil && at.Count >= p.Count {
			return nil
		}
		if !service.Pause(ctx, pollEvery) {
			return fmt.Errorf("the replica has come to %s and not to %s: %w", at.ID, p.ID, errors.Join(ctx.Err(), err))
		}
	}
}

// catchUp waits until a cluster's member has what the primary has now.
func (m *Manager) catchUp(ctx context.Context) error {
	var st status
	err := m.lead(ctx, func(c *opmsg.Client) (err error) {
		st, err = setStatus(ctx, c)
		return err
	})
	if err != nil {
		return err
	}
	return m.waitFor(ctx, st.OpTimes.Applied.position())
}

// promote makes the server the only member of its set, and so the primary: the others join anew, see attach. Before that it gets a new key, so that a
// former source, which does not know it, has no say in the set any more, however often it has elected itself; what only it has it keeps until it is
// attached.
func (m *Manager) promote(ctx context.Context, accounts []datastores.ReplicaAccount) error {
	if err := m.Start(ctx); err != nil { // an earlier try may have been cut while it was stopped
		return err
	}
	is, err := m.hello(ctx)
	if err != nil {
		return err
	}
	if !is.Primary {
		if err := m.rekey(ctx); err != nil {
			return err
		}
	}
	return m.talk(ctx, func(c *opmsg.Client) error {
		if !is.Primary {
			if err := m.takeOver(ctx, c); err != nil {
				return err
			}
		}
		if err := m.change(func(id *identity) { id.Source = nil }); err != nil {
			return err
		}
		if err := dropReplicas(ctx, c, accounts); err != nil {
			return err
		}
		for _, a := range accounts {
			if err := m.admit(ctx, c, a); err != nil {
				return err
			}
		}
		return blockWrites(ctx, c, false)
	})
}

// rekey restarts the server with a key that nobody else has.
func (m *Manager) rekey(ctx context.Context) error {
	if err := m.change(func(id *identity) { id.Key = newSet().Key }); err != nil {
		return err
	}
	if err := m.service.Stop(ctx); err != nil {
		return err
	}
	return m.Start(ctx)
}

func (m *Manager) takeOver(ctx context.Context, c *opmsg.Client) error {
	config, err := getConfig(ctx, c)
	if err != nil {
		return err
	}
	id := 0
	if i := config.find(host(m.env.Address)); i >= 0 {
		id = asInt(value(config.Members[i], "_id"))
	}
	config.Members = []bson.D{member(id, m.env.Address, true)}
	if _, err := c.Call(ctx, adminDatabase, bson.D{{Key: "replSetReconfig", Value: config.document()}, {Key: "force", Value: true}}); err != nil {
		return err
	}
	for {
		is, err := m.hello(ctx)
		if err == nil && is.Primary {
			return nil
		}
		if !service.Pause(ctx, pollEvery) {
			return fmt.Errorf("the server does not become the primary: %w", errors.Join(ctx.Err(), err))
		}
	}
}

// detach makes a replica a set of its own, with another name and key, so that neither takes the other for a member.
func (m *Manager) detach(ctx context.Context) error {
	id, err := m.identity()
	if err != nil {
		return err
	}
	if id.Source != nil {
		next := newSet()
		next.Admin, next.Ready, next.Leaves = id.Admin, true, true
		if err := m.change(func(id *identity) { *id = next }); err != nil {
			return err
		}
	} else if !id.Leaves {
		return nil
	}
	if err := m.service.Stop(ctx); err != nil {
		return err
	}
	if err := m.Start(ctx); err != nil {
		return err
	}
	return m.setReadOnly(ctx, false)
}

// finishDetach has the stopped server forget its set and that one's history, as MongoDB's documents have it done: it drops the database local while
// it is alone.
func (m *Manager) finishDetach(ctx context.Context) error {
	id, err := m.identity()
	if err != nil || !id.Leaves {
		return err
	}
	err = m.maintain(ctx, func(ctx context.Context, c *opmsg.Client) error {
		if _, err := c.Call(ctx, "local", bson.D{{Key: "dropDatabase", Value: 1}}); err != nil {
			return err
		}
		return m.secure(ctx, c)
	})
	if err != nil {
		return fmt.Errorf("cannot take the server out of its set: %w", err)
	}
	return m.change(func(id *identity) { id.Leaves = false })
}
