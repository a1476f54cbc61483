package postgresql

import (
	"context"
	"regexp"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// replicasRole is the group of the accounts with which replicas log in to their source.
const replicasRole = "os_replicas"

var slotRule = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

const slotPrefix = "replica_"

// slotOf names what keeps the write-ahead log for one replica.
func slotOf(account datastores.ReplicaAccount) (string, error) {
	slot := slotPrefix + strings.ReplaceAll(strings.ToLower(account.ReplicaID), "-", "_")
	if !slotRule.MatchString(slot) {
		return "", datastores.Errorf(datastores.Invalid, "%q cannot be the id of a replica", account.ReplicaID)
	}
	return slot, nil
}

// addReplica makes the account and the slot of a replica, or makes them right again.
func (m *Manager) addReplica(ctx context.Context, s *session, account datastores.ReplicaAccount) error {
	slot, err := slotOf(account)
	if err == nil {
		err = m.Names().CheckUser(account.User, "")
	}
	if err == nil {
		err = m.Names().CheckPassword("replica "+account.ReplicaID, account.Password)
	}
	if err != nil {
		return err
	}
	password, err := withPassword(account.Password)
	if err != nil {
		return err
	}
	found, err := roleExists(ctx, s, account.User)
	if err != nil {
		return err
	}
	statement := "CREATE ROLE " + identifier(account.User) + " LOGIN REPLICATION IN ROLE " + replicasRole + password
	if found {
		ours, err := isReplica(ctx, s, account.User)
		if err != nil {
			return err
		}
		if !ours {
			return datastores.Errorf(datastores.Exists, "there is a user %q already", account.User)
		}
		statement = "ALTER ROLE " + identifier(account.User) + " LOGIN REPLICATION" + password
	}
	if err := s.exec(ctx, statement); err != nil {
		return failed(err, "cannot make the account of replica %s", account.ReplicaID)
	}
	return failed(keepLogFor(ctx, s, slot), "cannot keep the log for replica %s", account.ReplicaID)
}

func isReplica(ctx context.Context, s *session, name string) (bool, error) {
	found, err := s.one(ctx, `SELECT true FROM pg_auth_members g JOIN pg_roles o ON o.oid = g.roleid JOIN pg_roles r ON r.oid = g.member
		WHERE o.rolname = $1 AND r.rolname = $2`, replicasRole, name)
	return found.bool(), failed(err, "cannot look for user %q", name)
}

// keepLogFor makes a slot, anew when it has lost what it kept.
func keepLogFor(ctx context.Context, s *session, slot string) error {
	state, err := s.one(ctx, "SELECT wal_status FROM pg_replication_slots WHERE slot_name = $1", slot)
	if err == nil && state.String() == "lost" {
		err = dropSlot(ctx, s, slot)
		state = nil
	}
	if err == nil && state == nil {
		_, err = s.query(ctx, "SELECT pg_create_physical_replication_slot($1, true)", slot)
	}
	return err
}

// dropSlot drops a slot, throwing out who uses it. It returns nil when there is none.
func dropSlot(ctx context.Context, s *session, slot string) error {
	_, err := s.query(ctx, "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = $1 AND active_pid IS NOT NULL", slot)
	if err == nil {
		_, err = s.query(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", slot)
	}
	if is(err, stateUndefined) {
		return nil
	}
	return err
}

// removeReplica drops slot and account of a replica. A server that follows another keeps the account: it has it from there.
func (m *Manager) removeReplica(ctx context.Context, s *session, account datastores.ReplicaAccount) error {
	slot, err := slotOf(account)
	if err != nil {
		return err
	}
	// The account first, or the replica would come back to a slot that is about to go.
	following, err := s.one(ctx, "SELECT pg_is_in_recovery()")
	if err != nil {
		return err
	}
	ours, err := isReplica(ctx, s, account.User)
	if err != nil {
		return err
	}
	if ours && !following.bool() {
		if err := m.dropReplica(ctx, s, account.User); err != nil {
			return failed(err, "cannot drop the account of replica %s", account.ReplicaID)
		}
	}
	return failed(dropSlot(ctx, s, slot), "cannot drop the slot of replica %s", account.ReplicaID)
}

func (m *Manager) dropReplica(ctx context.Context, s *session, name string) error {
	if err := s.exec(ctx, "ALTER ROLE "+identifier(name)+" NOLOGIN"); err != nil {
		return err
	}
	return m.dropRole(ctx, s, name)
}

// keepReplicas makes the accounts and slots be those of accounts and no others.
func (m *Manager) keepReplicas(ctx context.Context, accounts []datastores.ReplicaAccount) error {
	return m.with(ctx, func(s *session) error {
		users, slots := map[string]bool{}, map[string]bool{}
		for _, a := range accounts {
			slot, err := slotOf(a)
			if err != nil {
				return err
			}
			users[a.User], slots[slot] = true, true
			if err := m.addReplica(ctx, s, a); err != nil {
				return err
			}
		}
		had, err := s.query(ctx, `SELECT r.rolname FROM pg_auth_members g JOIN pg_roles o ON o.oid = g.roleid
			JOIN pg_roles r ON r.oid = g.member WHERE o.rolname = $1`, replicasRole)
		for _, row := range had {
			if name := row[0].String(); err == nil && !users[name] {
				err = m.dropReplica(ctx, s, name)
			}
		}
		if err != nil {
			return failed(err, "cannot drop the accounts of other replicas")
		}
		had, err = s.query(ctx, "SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE $1", slotPrefix+"%")
		for _, row := range had {
			if slot := row[0].String(); err == nil && !slots[slot] {
				err = dropSlot(ctx, s, slot)
			}
		}
		return failed(err, "cannot drop the slots of other replicas")
	})
}
