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
	in, err := m.loadMember()
	if err != nil {
		return err
	}
	return m.session(func(db *sql.DB) error {
		if in != nil && m.groups() {
			return firstError(m.boundBinlogs(ctx, db, m.binlogSpace()), m.endShutOut(ctx, db))
		}
		if in != nil {
			return firstError(m.remember(ctx, db, in), m.endShutOut(ctx, db))
		}
		if err := m.boundBinlogs(ctx, db, m.binlogSpace()); err != nil {
			return err
		}
		readOnly, err := isReadOnly(ctx, db)
		if err != nil {
			return err
		}
		if readOnly {
			return firstError(m.relearn(ctx, db), m.endShutOut(ctx, db))
		}
		if err := m.wakeWaiting(ctx, db); err != nil {
			return err
		}
		return m.tellDisabledEvents(ctx)
	})
}
