package postgresql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// overridesName is the file in the guest's directory that holds what the tenant has set.
const overridesName = "overrides.json"

func (m *Manager) storeOverrides(values datastores.Values) error {
	b, err := json.Marshal(values)
	if err != nil {
		return err
	}
	return service.WriteFile(m.env.Dir, overridesName, b, -1, -1)
}

// loadOverrides returns what is set, as the configuration file has it.
func (m *Manager) loadOverrides() (map[string]string, error) {
	b, err := os.ReadFile(filepath.Join(m.env.Dir, overridesName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var values datastores.Values
	if err == nil {
		err = json.Unmarshal(b, &values)
	}
	set := map[string]string{}
	for name, v := range values {
		set[name] = fmt.Sprint(v)
		if on, ok := v.(bool); ok {
			set[name] = map[bool]string{true: "on", false: "off"}[on]
		}
	}
	return set, err
}

// reload writes the configuration and makes a running server read it; one that is stopped is left so.
func (m *Manager) reload(ctx context.Context) error {
	if err := m.writeConfig(ctx); err != nil {
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
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("the server has not read its configuration: %w", ctx.Err())
			}
		}
	})
}
