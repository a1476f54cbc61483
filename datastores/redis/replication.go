package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// ReplicationStrategies implements [datastores.Replication], by the server's own, asynchronous replication. A new replica copies
// everything over the network.
//
// The server replicates data and no users. A replica's guest may read the users of the source (by hash, with the account
// that it has there) and takes them over in attach, waitFor and promote. What is changed of users on a source between the
// last of these and the loss of the source a promoted replica does not know: whoever changes users or root of a source
// should do the same on its replicas, as Trove does with root.
//
// Positions compare as long as the source is not restarted: then it begins a new history, and its replicas copy
// everything again.
func (m *Manager) ReplicationStrategies() []datastores.ReplicationStrategy {
	return []datastores.ReplicationStrategy{{
		StrategyName: datastores.StrategyName{Namespace: "redis_sync", Name: "RedisSyncReplication"},
		Source:       datastores.SourceSide{AddReplica: m.addReplica, RemoveReplica: m.removeReplica, SetReadOnly: m.setReadOnly},
		Replica:      datastores.ReplicaSide{Attach: m.attach, Detach: m.detach, WaitFor: m.waitFor, Promote: m.promote},
		Position:     m.position,
		Failover:     &datastores.Failover{Await: m.await, Stand: m.stand, Bounded: true},
	}}
}

// addReplica makes a user that may do nothing but follow, see replicaRules.
func (m *Manager) addReplica(ctx context.Context, account datastores.ReplicaAccount) error {
	command, err := m.setReplica(ctx, account)
	if err != nil {
		return err
	}
	return m.call(ctx, command, []string{"ACL", "SAVE"})
}

// setReplica returns the command that makes the account of a replica.
func (m *Manager) setReplica(ctx context.Context, a datastores.ReplicaAccount) ([]string, error) {
	if a.Password.IsZero() {
		return nil, datastores.Errorf(datastores.Invalid, "the account of replica %s needs a password", a.ReplicaID)
	}
	if err := m.checkReplicaUser(ctx, a.User); err != nil {
		return nil, err
	}
	return account{Name: a.User, Hashes: []string{hashed(a.Password.Reveal())}, replica: true}.set(false), nil
}

// checkReplicaUser keeps a replica's account from taking a tenant's place.
func (m *Manager) checkReplicaUser(ctx context.Context, name string) error {
	if err := m.Names().CheckUser(name, ""); err != nil {
		return err
	}
	if err := checkUser(name, ""); err != nil {
		return err
	}
	all, err := m.accounts(ctx)
	if err != nil {
		return err
	}
	if a, ok := findAccount(all, name); ok && !a.replica {
		return datastores.Errorf(datastores.Conflict, "user %q is a tenant's and cannot be a replica's account", name)
	}
	return nil
}

func (m *Manager) removeReplica(ctx context.Context, account datastores.ReplicaAccount) error {
	if err := m.checkReplicaUser(ctx, account.User); err != nil {
		return err
	}
	return m.call(ctx, []string{"ACL", "DELUSER", account.User}, []string{"ACL", "SAVE"})
}

// setReadOnly takes the right to write from root and users, and ends their connections. The server goes on to expire
// keys, and to tell its replicas that it is there: its offset grows, what it has acknowledged does not.
func (m *Manager) setReadOnly(ctx context.Context, on bool) error {
	st, err := m.loadSide()
	if err != nil {
		return err
	}
	st.ReadOnly, st.Mark = on, nil
	if err := m.saveSide(st); err != nil {
		return err
	}
	all, err := m.accounts(ctx)
	if err != nil {
		return err
	}
	if err := m.setTenants(ctx, tenants(all), on); err != nil || !on {
		return err
	}
	p, err := m.position(ctx)
	if err != nil {
		return err
	}
	st.Mark = &p
	return m.saveSide(st)
}

// position is the server's offset in its history, and which history that is.
func (m *Manager) position(ctx context.Context) (datastores.Position, error) {
	info, err := m.info(ctx, "replication")
	if err == nil && info["role"] == roleSource && info["repl_backlog_active"] == "0" {
		info, err = m.beginHistory(ctx)
	}
	if err != nil {
		return datastores.Position{}, err
	}
	return historyOf(info).position(), nil
}

// beginHistory asks for a snapshot as a replica does, and then does without it: a server begins its history, whose name
// positions have, when the first replica comes after its start. It lasts as long as the server runs.
func (m *Manager) beginHistory(ctx context.Context) (info map[string]string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = m.talk(ctx, func(c *conn) error {
		if err := c.sync(); err != nil {
			return err
		}
		for info["repl_backlog_active"] != "1" {
			if info, err = m.info(ctx, "replication"); err == nil && !service.Pause(ctx, time.Millisecond) {
				err = ctx.Err()
			}
			if err != nil {
				return fmt.Errorf("the server does not begin its history: %w", err)
			}
		}
		return nil
	})
	return info, err
}

// waitFor also takes over the users of the source: it is the last time before a promotion that they can be asked for.
func (m *Manager) waitFor(ctx context.Context, p datastores.Position) error {
	for {
		info, err := m.info(ctx, "replication")
		if err != nil {
			return err
		}
		switch h := historyOf(info); {
		case h.role != roleReplica:
			return datastores.Errorf(datastores.Conflict, "this server is no replica, it cannot come to a position of its source")
		case h.replid == historyID(p) && h.offset >= p.Count:
			m.copyLastUsers(ctx)
			return nil
		}
		if !service.Pause(ctx, 20*time.Millisecond) {
			return fmt.Errorf("the replica has come to %s and not to %s (link to its source: %s): %w",
				historyOf(info).position().ID, p.ID, info["master_link_status"], ctx.Err())
		}
	}
}

// promote refuses a replica whose first copy was never complete: it would lose what is missing.
func (m *Manager) promote(ctx context.Context, accounts []datastores.ReplicaAccount) error {
	st, err := m.loadSide()
	if err != nil {
		return err
	}
	if st.Source != nil {
		if !st.Source.Synced {
			return datastores.Errorf(datastores.Conflict, "the replica has never had all data of its source; it cannot be promoted")
		}
		if err := m.awaitLog(ctx); err != nil {
			return err
		}
		m.copyLastUsers(ctx)
	}
	var commands [][]string
	for _, a := range accounts {
		command, err := m.setReplica(ctx, a)
		if err != nil {
			return err
		}
		commands = append(commands, command)
	}
	if err := m.call(ctx, append(commands, []string{"ACL", "SAVE"})...); err != nil {
		return err
	}
	return m.detach(ctx)
}

// detach may find the server stopped.
func (m *Manager) detach(ctx context.Context) error {
	was, err := m.loadSide()
	if err != nil {
		return err
	}
	now := was
	now.Source = nil
	if err := m.saveSide(now); err != nil {
		return err
	}
	if _, _, ok := m.service.Running(); !ok {
		return nil
	}
	err = m.call(ctx, []string{"REPLICAOF", "NO", "ONE"}, []string{"CONFIG", "SET", "masteruser", "", "masterauth", ""})
	if err != nil && was.Source != nil {
		return errors.Join(fmt.Errorf("cannot leave the source: %w", err), m.saveSide(was))
	}
	return err
}

const (
	roleSource  = "master"
	roleReplica = "slave"
)

// history is where a server is in which history of writes, from INFO.
type history struct {
	role         string
	replid       string
	offset       uint64
	replid2      string // the history that it followed before it was promoted
	secondOffset uint64 // the first offset that is not of that history any more
}

func historyOf(info map[string]string) history {
	h := history{role: info["role"], replid: info["master_replid"], replid2: info["master_replid2"]}
	offset := info["master_repl_offset"]
	if h.role == roleReplica {
		offset = info["slave_repl_offset"] // what is applied
	}
	h.offset, _ = strconv.ParseUint(offset, 10, 64)
	h.secondOffset, _ = strconv.ParseUint(info["second_repl_offset"], 10, 64) // -1, none, is 0
	return h
}

func (h history) position() datastores.Position {
	return datastores.Position{ID: fmt.Sprintf("%s:%d", h.replid, h.offset), Count: h.offset, History: h.replid}
}

// has reports whether a server with this history has everything up to p.
func (h history) has(p datastores.Position) bool {
	id := historyID(p)
	if id == "" {
		return false
	}
	return h.replid == id && p.Count <= h.offset || h.replid2 == id && p.Count < h.secondOffset
}
