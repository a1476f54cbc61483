package mysql

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// ReplicationStream implements [datastores.Streamer]: a newer server reads the binary log of an older one of its family.
func (m *Manager) ReplicationStream() string { return m.variant.family }

// Upgrade implements [datastores.Upgrader]: the new server takes over the data directory, and its program brings the system
// tables to its version. A server that was not stopped cleanly must be started and stopped by its old version first.
func (m *Manager) Upgrade(ctx context.Context, req datastores.UpgradeRequest) error {
	if err := m.upgradable(req.From); err != nil {
		return err
	}
	if m.fromBefore(req.From) {
		if err := m.settledHere(); err != nil {
			return err
		}
	}
	req.Progress("starting the new version")
	if err := m.Start(ctx); err != nil {
		return err
	}
	if m.variant.upgrade == "" {
		return nil
	}
	req.Progress("upgrading the system tables")
	return m.upgradeTables(ctx)
}

func (m *Manager) upgradeTables(ctx context.Context) error {
	err := m.withLogin(ctx, func(login string, _ func()) error { return m.runTool(ctx, m.upgradeArgv(login), nil, nil) })
	if err != nil {
		return fmt.Errorf("cannot upgrade the system tables: %w", err)
	}
	return nil
}

// CheckUpgrade implements [datastores.UpgradeChecker].
func (m *Manager) CheckUpgrade(ctx context.Context, req datastores.UpgradeRequest) error {
	if err := m.upgradable(req.From); err != nil {
		return err
	}
	var found []string
	err := m.session(func(db *sql.DB) error {
		xids, err := m.preparedTransactions(ctx, db)
		for _, xid := range xids {
			found = append(found, "transaction "+xid+" is prepared: end it with XA COMMIT or XA ROLLBACK")
		}
		if err != nil || !m.fromBefore(req.From) {
			return failed(err, "cannot look for prepared transactions")
		}
		more, err := unsettled(ctx, db)
		found = append(found, more...)
		return err
	})
	if err != nil {
		return err
	}
	return datastores.Obstacles(found)
}

// upgradeArgv: what is upgraded here a replica upgrades by itself, so none of it is logged.
func (m *Manager) upgradeArgv(login string) []string {
	return []string{m.tool(m.variant.upgrade), login, "--skip-write-binlog", "--silent"}
}

// fromBefore reports whether the server takes over the data of an older one that may have a change buffer.
func (m *Manager) fromBefore(from json.RawMessage) bool {
	before := DefaultOptions()
	return json.Unmarshal(from, &before) == nil && m.older(backupMeta{Family: m.variant.family, Version: before.Version})
}

// upgradable refuses what the server could not take over.
func (m *Manager) upgradable(from json.RawMessage) error {
	before := DefaultOptions()
	if err := json.Unmarshal(from, &before); err != nil {
		return datastores.Errorf(datastores.Invalid, "the options of the version before cannot be read")
	}
	old, known := variantOf(before.Variant, before.Version)
	step := fmt.Sprintf("from %s %s to %s %s", before.Variant, before.Version, m.options.Variant, m.options.Version)
	if !known || old.family != m.variant.family {
		return datastores.Errorf(datastores.Invalid, "there is no upgrade %s: they are different servers; load a dump into a new instance", step)
	}
	was, is := slices.Index(old.versions, before.Version), slices.Index(m.variant.versions, m.options.Version)
	if was < 0 || is < 0 || was > is {
		return datastores.Errorf(datastores.Invalid, "there is no upgrade %s: a server takes over the data of its own version, or an earlier one", step)
	}
	if takes := m.variant.takes; takes != nil && series(before.Version) != series(m.options.Version) && takes[m.options.Version] != series(before.Version) {
		return datastores.Errorf(datastores.Invalid, "there is no upgrade %s at once: a server takes over the data of the version before it; those are %s",
			step, strings.Join(m.variant.versions, ", "))
	}
	return nil
}

// series is the first two numbers of a version.
func series(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}
