package datastoretest

import (
	"context"
	"fmt"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
)

func (m *memoryManager) ReplicationStrategies() []datastores.ReplicationStrategy {
	return []datastores.ReplicationStrategy{memoryFollow{m}}
}

// memoryFollow is the strategy memory_impl/follow: a replica has the same history as its source, line by line.
type memoryFollow struct{ *memoryManager }

// memorySource is whom a replica follows, and as whom.
type memorySource struct{ address, user, password string }

func (f memoryFollow) Strategy() datastores.StrategyName {
	return datastores.StrategyName{Namespace: "memory_impl", Name: "follow"}
}

func (f memoryFollow) NeedsBackup() (datastores.StrategyName, bool) {
	return memoryCopy, f.memory.ReplicaBackup
}

// call enters a method and calls what it does to the running server.
func (f memoryFollow) call(ctx context.Context, method string, do func(*memoryServer) error) error {
	if err := f.enter(ctx, method); err != nil {
		return err
	}
	return f.ask(ctx, do)
}

func (f memoryFollow) AddReplica(ctx context.Context, a datastores.ReplicaAccount) error {
	return f.call(ctx, datastores.MethodReplicationSnapshot, func(s *memoryServer) error {
		s.accounts[a.User] = a.Password.Reveal()
		return nil
	})
}

func (f memoryFollow) RemoveReplica(ctx context.Context, a datastores.ReplicaAccount) error {
	return f.call(ctx, datastores.MethodCleanupSource, func(s *memoryServer) error {
		delete(s.accounts, a.User)
		return nil
	})
}

func (f memoryFollow) Attach(ctx context.Context, req datastores.AttachRequest) error {
	req.Progress("following " + req.Address)
	if err := f.checkSource(req.Address); err != nil {
		return fmt.Errorf("source %s: %w", req.Address, err)
	}
	return f.call(ctx, datastores.MethodAttachReplica, func(s *memoryServer) error {
		source := f.memory.server(req.Address)
		if err := source.admits(req.Account.User, req.Account.Password.Reveal()); err != nil {
			return fmt.Errorf("source %s: %w", req.Address, err)
		}
		if !s.follows(&source.memoryData) || !f.memory.ReplicaBackup {
			if f.memory.ReplicaBackup && !req.Former {
				return datastores.Errorf(datastores.Conflict, "this server has what its source has not")
			}
			s.memoryData = newMemoryData()
		}
		s.source = &memorySource{req.Address, req.Account.User, req.Account.Password.Reveal()}
		s.readOnly = false
		defer s.passes(AtAttach)
		return s.copyFrom(source)
	})
}

func (s *memoryServer) admits(user, password string) error {
	if known, ok := s.accounts[user]; !s.running || !ok || known != password {
		return fmt.Errorf("replica %q is not let in", user)
	}
	return nil
}

// copyFrom brings what the source has more.
func (s *memoryServer) copyFrom(source *memoryServer) error {
	for len(s.history) < len(source.history) {
		if err := s.record(source.history[len(s.history)]); err != nil {
			return err
		}
	}
	return nil
}

// follow brings to every replica what it has not yet, also through other replicas. It must be called under the lock.
func (m *Memory) follow() {
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

func (f memoryFollow) Detach(ctx context.Context) error {
	return f.call(ctx, datastores.MethodDetachReplica, func(s *memoryServer) error {
		if s.source != nil {
			s.source, s.readOnly = nil, false
			s.passes(AtDetach)
		}
		return nil
	})
}

func (f memoryFollow) SetReadOnly(ctx context.Context, on bool) error {
	return f.call(ctx, datastores.MethodMakeReadOnly, func(s *memoryServer) error {
		s.readOnly = on
		return nil
	})
}

func (f memoryFollow) Position(ctx context.Context) (p datastores.Position, err error) {
	err = f.call(ctx, datastores.MethodLatestTxn, func(s *memoryServer) error {
		p = datastores.Position{ID: strconv.Itoa(len(s.history)), Count: uint64(len(s.history))}
		return nil
	})
	return p, err
}

func (f memoryFollow) WaitFor(ctx context.Context, p datastores.Position) error {
	if err := f.enter(ctx, datastores.MethodWaitForTxn); err != nil {
		return err
	}
	want, err := strconv.Atoi(p.ID)
	if err != nil {
		return datastores.Errorf(datastores.Invalid, "position %q is no number", p.ID)
	}
	return f.memory.await(ctx, f.env.Address, func(s *memoryServer) bool { return len(s.history) >= want })
}

func (f memoryFollow) Promote(ctx context.Context, accounts []datastores.ReplicaAccount) error {
	return f.call(ctx, datastores.MethodEnableAsMaster, func(s *memoryServer) error {
		s.source, s.readOnly = nil, false
		s.passes(AtPromotion)
		for _, a := range accounts {
			s.accounts[a.User] = a.Password.Reveal()
		}
		return nil
	})
}
