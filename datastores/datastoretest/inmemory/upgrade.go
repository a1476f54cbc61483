package inmemory

import (
	"context"
	"encoding/json"

	"github.com/cofferdb/coffer/datastores"
)

// ReplicationStream implements [datastores.Streamer].
func (m *manager) ReplicationStream() string { return "memory" }

func (m *manager) CheckUpgrade(ctx context.Context, _ datastores.UpgradeRequest) error {
	return m.ask(ctx, func(s *server) error {
		if err := s.free(); err != nil {
			return datastores.Obstacles([]string{err.Error()})
		}
		return nil
	})
}

func (m *manager) Upgrade(ctx context.Context, req datastores.UpgradeRequest) error {
	if err := m.enter(ctx, datastores.MethodUpgrade); err != nil {
		return err
	}
	var from Options
	if err := json.Unmarshal(req.From, &from); err != nil {
		return datastores.Errorf(datastores.Invalid, "the options of the version before: %v", err)
	}
	if from.Release > m.release {
		return datastores.Errorf(datastores.Invalid, "release %d cannot take over the data of release %d", m.release, from.Release)
	}
	req.Progress("changing nothing")
	if err := ctx.Err(); err != nil {
		return err
	}
	m.memory.with(m.env.Address, func(s *server) {
		s.release = m.release
		s.passes(AtUpgrade)
	})
	return m.Start(ctx)
}
