package couchbase

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cofferdb/coffer/datastores"
)

// Upgrade implements [datastores.Upgrader]. A newer server takes over the files of an older one when it starts, and there is no way back.
func (m *Manager) Upgrade(ctx context.Context, req datastores.UpgradeRequest) error {
	from := DefaultOptions()
	if err := json.Unmarshal(req.From, &from); err != nil {
		return datastores.Errorf(datastores.Invalid, "the options of the version before: %v", err)
	}
	if !slices.Contains(versions(), from.Version) || datastores.CompareVersions(m.options.Version, from.Version) < 0 {
		return datastores.Errorf(datastores.Invalid, "Couchbase Server %s cannot take over the data of %s", m.options.Version, from.Version)
	}
	req.Progress("starting Couchbase Server " + m.options.Version)
	if err := m.Start(ctx); err != nil {
		return fmt.Errorf("Couchbase Server %s does not start with the data of %s: %w", m.options.Version, from.Version, err)
	}
	return nil
}
