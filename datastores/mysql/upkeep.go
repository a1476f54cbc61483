package mysql

import (
	"context"
	"database/sql"
)

// Upkeep implements [datastores.Upkeep]. A server without space would keep it waiting.
func (m *Manager) Upkeep(ctx context.Context) error {
	if err := m.full(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
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
