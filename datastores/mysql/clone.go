package mysql

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mysql/group"
	"github.com/cofferdb/coffer/datastores/volume"
)

const (
	clonePlugin = "mysql_clone.so"
	// unclonable are the engines that keep what a clone does not have: such a table would be empty in a backup, and in a replica.
	unclonable = "MyISAM,CSV,ARCHIVE,MRG_MYISAM,BLACKHOLE,FEDERATED"
	cloneDir   = tmpDir + "/clone"
)

// cloneStrategy has the server copy its data to another directory of the volume, of which the backup is made. The copy has its
// position in the source's history in itself.
func (m *Manager) cloneStrategy() datastores.BackupStrategy {
	return datastores.BackupStrategy{
		StrategyName: datastores.StrategyName{Namespace: backupNamespace, Name: "clone"},
		Backup:       m.backupClone,
		Restore:      m.restoreClone,
	}
}

func (m *Manager) backupClone(ctx context.Context, req datastores.BackupRequest) (datastores.BackupReply, error) {
	if req.Parent != nil {
		return datastores.BackupReply{}, datastores.Errorf(datastores.Invalid, "clone cannot build on another backup")
	}
	if err := m.full(); err != nil {
		return datastores.BackupReply{}, err
	}
	data, logs := m.sizes()
	if free, total, err := m.data.Space(); err == nil && total > 0 && int64(free) < data {
		return datastores.BackupReply{}, datastores.Errorf(datastores.Full, "a backup by clone needs %d MB on the volume until it is sent, and %d are left; "+
			"resize the volume, or make the backup with mysqldump", data>>20, free>>20)
	}
	req.Expect(data)
	if err := m.data.Remove(cloneDir); err != nil {
		return datastores.BackupReply{}, err
	}
	defer func() { _ = m.data.Remove(cloneDir) }()
	if err := m.clone(ctx); err != nil {
		return datastores.BackupReply{}, fmt.Errorf("cannot make the backup: %w", err)
	}
	tree, err := m.data.Open()
	if err != nil {
		return datastores.BackupReply{}, err
	}
	defer func() { _ = tree.Close() }()
	copied, err := tree.In(cloneDir)
	if err != nil {
		return datastores.BackupReply{}, err
	}
	defer func() { _ = copied.Close() }()
	if err := copied.WriteTar(ctx, req.Output); err != nil {
		return datastores.BackupReply{}, fmt.Errorf("cannot make the backup: %w", err)
	}
	meta, err := json.Marshal(backupMeta{Family: m.variant.family, Version: m.options.Version})
	return datastores.BackupReply{Meta: meta, Without: logs}, err
}

// clone returns when the server has made the copy, or makes it no more: a statement goes on when nobody waits for its end.
func (m *Manager) clone(ctx context.Context) error {
	return m.session(func(db *sql.DB) error {
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		var id int64
		if err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id); err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockSeconds*time.Second)
			defer cancel()
			_ = m.session(func(db *sql.DB) error { return execute(ctx, db, fmt.Sprintf("KILL QUERY %d", id)) })
		})
		defer stop()
		_, err = conn.ExecContext(context.WithoutCancel(ctx), "CLONE LOCAL DATA DIRECTORY = "+text(m.path(cloneDir)))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return failed(err, "the server makes no copy of itself")
	})
}

// restoreClone unpacks the copy; what in it is of the server that it was made of goes with the first start, see [Manager.leaveOrigin].
func (m *Manager) restoreClone(ctx context.Context, req datastores.RestoreRequest) error {
	if len(req.Chain) != 1 {
		return datastores.Errorf(datastores.Invalid, "%d backups to restore; of clone's it is one", len(req.Chain))
	}
	link := req.Chain[0]
	if err := m.readable(req.Chain); err != nil {
		return err
	}
	if err := m.discardData(ctx); err != nil {
		return err
	}
	if err := m.markCopied(true); err != nil {
		return err
	}
	req.Progress("unpacking the backup")
	return m.makeDir(ctx, func(made *volume.Tree) error {
		stream, err := link.Open(ctx)
		if err != nil {
			return err
		}
		err = made.ReadTar(ctx, stream)
		_ = stream.Close()
		if err != nil {
			return fmt.Errorf("cannot restore backup %s: %w", link.ID, err)
		}
		return nil
	})
}

func (m *Manager) markCopied(copied bool) error {
	s, err := m.loadSide()
	if err != nil || s.Copied == copied {
		return err
	}
	s.Copied = copied
	return m.own.SaveJSON(sideName, s)
}

// leaveOrigin takes from a copied server what it has of its source: whom that follows, and the accounts of its replicas.
func (m *Manager) leaveOrigin(ctx context.Context) error {
	s, err := m.loadSide()
	if err != nil || !s.Copied {
		return err
	}
	err = m.local(func(db *sql.DB) error {
		if err := execute(ctx, db, m.variant.dialect.words().forget); err != nil {
			return failed(err, "cannot forget whom the copied server follows")
		}
		var replicas []account
		err := query(ctx, db, func(scan func(...any) error) error {
			var a account
			err := scan(&a.name, &a.host)
			replicas = append(replicas, a)
			return err
		}, "SELECT u.User, u.Host FROM mysql.user u WHERE NOT ("+noReplica+")")
		for _, a := range replicas {
			if err == nil {
				err = execute(ctx, db, "DROP USER "+a.sql())
			}
		}
		if err == nil {
			err = execute(ctx, db, group.Forget()...)
		}
		return failed(err, "cannot remove the accounts of the copied server's replicas")
	})
	if err != nil {
		return err
	}
	return m.markCopied(false)
}
