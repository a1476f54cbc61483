package mysql

import (
	"context"
	"database/sql"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

const (
	replicationNamespace = "mysql_gtid"

	connectRetry = 1  // seconds until a replica tries again
	heartbeat    = 10 // seconds of silence of a source that has nothing to tell

	attachPatience = 2 * time.Minute
	drainPatience  = 5 * time.Second
	lookEvery      = 50 * time.Millisecond
)

// ReplicationStrategies implements [datastores.Replication]. A replica follows the source's binary log by global transaction
// identifiers, asynchronously.
func (m *Manager) ReplicationStrategies() []datastores.ReplicationStrategy {
	if m.physicalStrategy().IsZero() {
		return nil
	}
	return []datastores.ReplicationStrategy{{
		StrategyName: datastores.StrategyName{Namespace: replicationNamespace, Name: m.variant.dialect.strategy()},
		StartsFrom:   m.physicalStrategy().StrategyName,
		Source:       datastores.SourceSide{AddReplica: m.addReplica, RemoveReplica: m.removeReplica, SetReadOnly: m.setReadOnly},
		Replica:      datastores.ReplicaSide{Attach: m.attach, Detach: m.detach, WaitFor: m.waitFor, Promote: m.promote},
		Position:     m.position,
		Failover:     m.failover(),
	}}
}

// addReplica makes an account of this server only. The binary log is kept for
// binlogDays where there is space for it, which is how long the replica has.
func (m *Manager) addReplica(ctx context.Context, replica datastores.ReplicaAccount) error {
	if replica.User == "" || replica.Password.IsZero() {
		return datastores.Errorf(datastores.Invalid, "the account of a replica needs a name and a password")
	}
	if err := m.session(func(db *sql.DB) error { return m.takeReadOnlyAdmin(ctx, db) }); err != nil {
		return err
	}
	return m.addAccounts(ctx, []datastores.ReplicaAccount{replica})
}

func (m *Manager) addAccounts(ctx context.Context, replicas []datastores.ReplicaAccount) error {
	return m.local(func(db *sql.DB) error {
		for _, r := range replicas {
			a, password := newAccount(r.User, ""), m.variant.identified(r.Password)
			err := execute(ctx, db,
				"CREATE USER IF NOT EXISTS "+a.sql()+password,
				"ALTER USER "+a.sql()+password,
				"GRANT REPLICATION SLAVE ON *.* TO "+a.sql())
			if err != nil {
				return failed(err, "cannot make the account of replica %s", r.ReplicaID)
			}
		}
		return nil
	})
}

func (m *Manager) removeReplica(ctx context.Context, replica datastores.ReplicaAccount) error {
	return m.local(func(db *sql.DB) error {
		if err := execute(ctx, db, "DROP USER IF EXISTS "+newAccount(replica.User, "").sql()); err != nil {
			return failed(err, "cannot remove the account of replica %s", replica.ReplicaID)
		}
		return failed(endSessions(ctx, db, "USER = "+text(replica.User)), "cannot end the session of replica %s", replica.ReplicaID)
	})
}

// position lets a replica whose source is gone apply first what it has received.
func (m *Manager) position(ctx context.Context) (p datastores.Position, err error) {
	err = m.session(func(db *sql.DB) error {
		following, err := m.follows(ctx, db)
		if err != nil {
			return err
		}
		if following.source != "" && following.receiving != "Yes" {
			ctx, cancel := context.WithTimeout(ctx, drainPatience)
			_ = m.drain(ctx, db) // what it has applied is told all the same
			cancel()
		}
		p, err = m.variant.dialect.position(ctx, db)
		return failed(err, "cannot read the server's position")
	})
	return p, err
}
