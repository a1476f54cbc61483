package mysql

import (
	"context"
	"database/sql"
)

// Upkeep implements [datastores.Upkeep].
func (m *Manager) Upkeep(ctx context.Context) error {
	return m.session(func(db *sql.DB) error {
		if err := m.boundBinlogs(ctx, db, m.binlogSpace()); err != nil {
			return err
		}
		readOnly, err := isReadOnly(ctx, db)
		if err != nil {
			return err
		}
		if readOnly {
			return m.endShutOut(ctx, db)
		}
		return m.tellDisabledEvents(ctx)
	})
}
