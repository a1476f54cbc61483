package redis

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/cofferdb/coffer/datastores"
)

// ReplicationStream implements [datastores.Streamer]: a newer server reads the snapshot and the commands of an older one.
func (m *Manager) ReplicationStream() string { return "redis" }

// Upgrade implements [datastores.Upgrader]. A newer server reads the files of an older one as they are.
func (m *Manager) Upgrade(ctx context.Context, req datastores.UpgradeRequest) error {
	from := DefaultOptions()
	if err := json.Unmarshal(req.From, &from); err != nil {
		return datastores.Errorf(datastores.Invalid, "the options of the version before: %v", err)
	}
	old, ok := findVariant(from.Server)
	if !ok || !m.variant.takesOver(old) {
		return datastores.Errorf(datastores.Invalid, "%s cannot take over the data of %s", m.variant.name, from.Server)
	}
	format, err := m.dataFormat()
	if err != nil {
		return datastores.Errorf(datastores.Invalid, "cannot look at the data: %v", err)
	}
	if format > m.variant.rdb {
		return datastores.Errorf(datastores.Invalid, "the data have format %d, %s reads up to %d", format, m.variant.name, m.variant.rdb)
	}
	if old.name != m.variant.name {
		if err := m.otherHistory(); err != nil {
			return err
		}
	}
	req.Progress("starting " + m.variant.name)
	if err := m.Start(ctx); err != nil {
		return fmt.Errorf("%s does not start with the data of %s: %w", m.variant.name, old.name, err)
	}
	return nil
}
