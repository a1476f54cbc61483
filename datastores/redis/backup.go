package redis

import (
	"archive/tar"
	"context"
	"errors"
	"io"

	"github.com/cofferdb/coffer/datastores"
)

// BackupStrategies implements [datastores.Backups].
func (m *Manager) BackupStrategies() []datastores.BackupStrategy {
	list := []datastores.BackupStrategy{
		{StrategyName: strategyName("rdb"), Backup: m.backupRDB, Restore: m.restore},
		{StrategyName: strategyName("aof"), Backup: m.backupAOF, Restore: m.restore},
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
	all, err := m.accounts(ctx)
	if err != nil {
		return err
	}
	var done int64
	w := tar.NewWriter(cancelled{req.Output, ctx})
	a := archiver{w, func(n int) {
		done += int64(n)
		if total > 0 {
			total = max(total, done)
		}
		req.Progress(done, total)
	}}
	if err := a.users(tenants(all)); err != nil {
		return err
	}
	if err := data(a); err != nil {
		return errors.Join(ctx.Err(), err)
	}
	return w.Close()
}

// cancelled is a writer that fails when the context has ended.
type cancelled struct {
	io.Writer
	ctx context.Context
}

func (c cancelled) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.Writer.Write(p)
}
