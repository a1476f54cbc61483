package redis

import (
	"archive/tar"
	"context"
	"errors"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// BackupStrategies implements [datastores.Backups].
func (m *Manager) BackupStrategies() []datastores.BackupStrategy {
	list := []datastores.BackupStrategy{
		{StrategyName: strategyName("rdb"), Backup: m.backupRDB, Restore: m.restore},
		{StrategyName: strategyName("aof"), Replays: true, Precision: time.Second, Backup: m.backupAOF, Restore: m.restore},
	}
	for _, make := range m.extra {
		list = append(list, make(m))
	}
	return list
}

func strategyName(name string) datastores.StrategyName {
	return datastores.StrategyName{Namespace: "redis_impl", Name: name}
}

// archive writes root, the users and what data writes. total is the bytes that are expected of data; 0: unknown.
func (m *Manager) archive(ctx context.Context, req datastores.BackupRequest, total int64, data func(archiver) error) error {
	if req.Parent != nil {
		return datastores.Errorf(datastores.Unsupported, "backups of %s are always full", m.variant.server())
	}
	if err := m.wholeShard(ctx); err != nil {
		return err
	}
	all, err := m.accounts(ctx)
	if err != nil {
		return err
	}
	req.Expect(total)
	w := tar.NewWriter(req.Output)
	a := archiver{w}
	if err := a.users(tenants(all)); err != nil {
		return err
	}
	if err := data(a); err != nil {
		return errors.Join(ctx.Err(), err)
	}
	if err := m.wholeShard(ctx); err != nil { // it may have lost its place before what data has written
		return err
	}
	return w.Close()
}
