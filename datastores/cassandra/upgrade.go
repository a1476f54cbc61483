package cassandra

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/cofferdb/coffer/datastores"
)

// Upgrade implements [datastores.Upgrader]. A newer server reads the files of an older one as they are, and writes them anew by and by.
func (m *Manager) Upgrade(ctx context.Context, req datastores.UpgradeRequest) error {
	from := DefaultOptions()
	if err := json.Unmarshal(req.From, &from); err != nil {
		return datastores.Errorf(datastores.Invalid, "the options of the version before: %v", err)
	}
	if _, ok := findVariant(from.Version); !ok || datastores.CompareVersions(m.variant.version, from.Version) < 0 {
		return datastores.Errorf(datastores.Invalid, "cassandra %s cannot take over the data of %s", m.variant.version, from.Version)
	}
	in, err := m.loadMember()
	if err != nil {
		return err
	}
	if in.isIn() && from.Version != m.variant.version { // it would write what those that are older cannot read
		return datastores.Errorf(datastores.Invalid, "a member of a ring stays with cassandra %s, as the others do: make a ring of %s, and copy the data to it", from.Version, m.variant.version)
	}
	req.Progress("starting cassandra " + m.variant.version)
	if err := m.Start(ctx); err != nil {
		return fmt.Errorf("cassandra %s does not start with the data of %s: %w", m.variant.version, from.Version, err)
	}
	return nil
}
