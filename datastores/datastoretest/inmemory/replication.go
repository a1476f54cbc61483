package inmemory

import (
	"context"
	"fmt"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
)

// ReplicationStrategies returns memory_impl/follow: a replica has the same history as its source, line by line.
func (m *manager) ReplicationStrategies() []datastores.ReplicationStrategy {
	s := datastores.ReplicationStrategy{
		StrategyName: datastores.StrategyName{Namespace: "memory_impl", Name: "follow"},
		Source:       datastores.SourceSide{AddReplica: m.addReplica, RemoveReplica: m.removeReplica, SetReadOnly: m.setReadOnly},
		Replica:      datastores.ReplicaSide{Attach: m.attach, Detach: m.detach, WaitFor: m.waitFor, Promote: m.promote},
		Position:     m.position,
	}
	if m.memory.ReplicaBackup {
		s.StartsFrom = byCopy
	}
	return []datastores.ReplicationStrategy{s}
}

// Following implements [datastores.Replication].
func (m *manager) Following(ctx context.Context) (is datastores.Following, err error) {
	err = m.ask(ctx, func(s *server) error {
		if is.Role = datastores.RoleSource; s.source == nil {
			return nil
		}
		is = datastores.Following{Role: datastores.RoleReplica, Follows: true, At: strconv.Itoa(len(s.history)), Lag: datastores.Lag{datastores.Transactions: 0}}
		source := m.memory.server(s.source.address)
		if err := source.admits(s.source.user, s.source.password); err != nil {
			is.Follows, is.Why = false, err.Error()
		}
		if behind := len(source.history) - len(s.history); behind > 0 {
			is.Waits, is.Lag[datastores.Transactions] = true, int64(behind)
		}
		return nil
	})
	return is, err
}

// followed is whom a replica follows, and as whom.
type followed struct{ address, user, password string }

// doing enters a method and does it to the running server.
func (m *manager) doing(ctx context.Context, method string, do func(*server) error) error {
	if err := m.enter(ctx, method); err != nil {
		return err
	}
	return m.ask(ctx, do)
}

func (m *manager) addReplica(ctx context.Context, a datastores.ReplicaAccount) error {
	return m.doing(ctx, datastores.MethodReplicationSnapshot, func(s *server) error {
		s.accounts[a.User] = a.Password.Reveal()
		return nil
	})
}

func (m *manager) removeReplica(ctx context.Context, a datastores.ReplicaAccount) error {
	return m.doing(ctx, datastores.MethodCleanupSource, func(s *server) error {
		delete(s.accounts, a.User)
		return nil
	})
}

func (m *manager) attach(ctx context.Context, req datastores.AttachRequest) error {
	req.Progress("following " + req.Address)
	if err := m.checkSource(req.Address); err != nil {
		return fmt.Errorf("source %s: %w", req.Address, err)
	}
	return m.doing(ctx, datastores.MethodAttachReplica, func(s *server) error {
		source := m.memory.server(req.Address)
		if err := source.admits(req.Account.User, req.Account.Password.Reveal()); err != nil {
			return fmt.Errorf("source %s: %w", req.Address, err)
		}
		if !s.follows(&source.contents) || !m.memory.ReplicaBackup {
			if (m.memory.ReplicaBackup && !req.Former || req.Keep) && !req.Anew && !s.follows(&source.contents) {
				return datastores.Errorf(datastores.Conflict, "this server has what its source has not")
			}
			s.contents = newContents()
		}
		s.source = &followed{req.Address, req.Account.User, req.Account.Password.Reveal()}
		s.readOnly = false
		defer s.passes(AtAttach)
		return s.copyFrom(source)
	})
}

func (s *server) admits(user, password string) error {
	if known, ok := s.accounts[user]; !s.running || !ok || known != password {
		return fmt.Errorf("replica %q is not let in", user)
	}
	return nil
}

// copyFrom brings what the source has more.
func (s *server) copyFrom(source *server) error {
	for len(s.history) < len(source.history) {
		if err := s.record(source.history[len(s.history)]); err != nil {
			return err
		}
	}
	return nil
}

// follow brings to every replica what it has not yet, also through other replicas. It must be called under the lock.
func (m *Datastore) follow() {
	for again := true; again; {
		again = false
		for _, s := range m.servers {
			if s.source == nil || !s.running || s.held[Following] > 0 {
				continue
			}
			source := m.server(s.source.address)
			if source.admits(s.source.user, s.source.password) == nil && len(s.history) < len(source.history) && s.copyFrom(source) == nil {
				again = true
			}
		}
	}
}

func (m *manager) detach(ctx context.Context) error {
	return m.doing(ctx, datastores.MethodDetachReplica, func(s *server) error {
		if s.source != nil {
			s.source, s.readOnly = nil, false
			s.passes(AtDetach)
		}
		return nil
	})
}

func (m *manager) setReadOnly(ctx context.Context, on bool) error {
	return m.doing(ctx, datastores.MethodMakeReadOnly, func(s *server) error {
		s.readOnly = on
		return nil
	})
}

func (m *manager) position(ctx context.Context) (p datastores.Position, err error) {
	err = m.doing(ctx, datastores.MethodLatestTxn, func(s *server) error {
		p = datastores.Position{ID: strconv.Itoa(len(s.history)), Count: uint64(len(s.history))}
		return nil
	})
	return p, err
}

func (m *manager) waitFor(ctx context.Context, p datastores.Position) error {
	if err := m.enter(ctx, datastores.MethodWaitForTxn); err != nil {
		return err
	}
	want, err := strconv.Atoi(p.ID)
	if err != nil {
		return datastores.Errorf(datastores.Invalid, "position %q is no number", p.ID)
	}
	return m.memory.await(ctx, m.env.Address, func(s *server) bool { return len(s.history) >= want })
}

func (m *manager) promote(ctx context.Context, accounts []datastores.ReplicaAccount) error {
	return m.doing(ctx, datastores.MethodEnableAsMaster, func(s *server) error {
		s.source, s.readOnly = nil, false
		s.passes(AtPromotion)
		for _, a := range accounts {
			s.accounts[a.User] = a.Password.Reveal()
		}
		return nil
	})
}
