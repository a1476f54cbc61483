package postgresql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// DefaultConfiguration implements [datastores.Configuration].
func (m *Manager) DefaultConfiguration() map[string]string { return m.defaults() }

// UpdateOverrides implements [datastores.Configuration]. What the running server refuses is taken back.
func (m *Manager) UpdateOverrides(ctx context.Context, values datastores.Values) (restart bool, err error) {
	before, err := m.set.Load()
	if err != nil {
		return false, err
	}
	if err := m.set.Save(values); err != nil {
		return false, err
	}
	if err := m.reload(ctx); err != nil {
		return false, err
	}
	if _, _, running := m.service.Running(); !running {
		return false, nil
	}
	// A new session: it begins with what the main process has read.
	err = m.with(ctx, func(s *session) error {
		refused, err := s.one(ctx, `SELECT string_agg(f.name || ' = ' || f.setting, ', ') FROM pg_file_settings f
			LEFT JOIN pg_settings p ON lower(p.name) = lower(f.name)
			WHERE f.error IS NOT NULL AND p.pending_restart IS NOT TRUE`)
		if err == nil && refused != nil {
			return datastores.Errorf(datastores.Invalid, "the server does not take %s", refused)
		}
		if err == nil {
			var pending value
			// A server that was promoted has kept what a standby needs.
			pending, err = s.one(ctx, "SELECT bool_or(pending_restart) FROM pg_settings WHERE name <> $1", hotStandby)
			restart = pending.bool()
		}
		return failed(err, "cannot ask for the configuration")
	})
	if e := (*datastores.Error)(nil); errors.As(err, &e) && e.Kind == datastores.Invalid {
		if undone := errors.Join(m.set.Save(before), m.reload(ctx)); undone != nil {
			return false, fmt.Errorf("%w; it could not be taken back: %w", err, undone)
		}
		return false, err
	}
	return restart, err
}

// texts are values as the configuration file has them.
func texts(values datastores.Values) map[string]string {
	set := map[string]string{}
	for name, v := range values {
		set[name] = fmt.Sprint(v)
		if on, ok := v.(bool); ok {
			set[name] = map[bool]string{true: "on", false: "off"}[on]
		}
	}
	return set
}

// reload writes the configuration and makes a running server read it; one that is stopped is left so.
func (m *Manager) reload(ctx context.Context) error {
	settings, err := m.stored(ctx)
	if err != nil {
		return err
	}
	if err := m.writeConfig(settings); err != nil {
		return err
	}
	if _, _, running := m.service.Running(); !running {
		return nil
	}
	return m.with(ctx, func(s *session) error {
		before, err := s.one(ctx, "SELECT pg_conf_load_time()::text FROM pg_reload_conf()")
		if err != nil {
			return failed(err, "cannot reload the configuration")
		}
		// The main process reads the files first, and tells the others when it has.
		for {
			now, err := s.one(ctx, "SELECT pg_conf_load_time()::text")
			if err != nil || now.String() != before.String() {
				return failed(err, "cannot reload the configuration")
			}
			if !service.Pause(ctx, 10*time.Millisecond) {
				return fmt.Errorf("the server has not read its configuration: %w", ctx.Err())
			}
		}
	})
}
