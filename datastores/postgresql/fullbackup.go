package postgresql

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// A full backup is read from the files of the data directory by the guest itself, between pg_backup_start and
// pg_backup_stop, and not through a connection for replication: the process of the server that sends such a backup heeds
// nothing while the network is stuck, and CREATE and DROP DATABASE wait for every process. A session that has nothing to do
// heeds everything. When it ends, so does the backup, and the slot that keeps the log for it is gone.

// fullBackup writes the data directory, and the log that makes it whole, as a tar.
func (m *Manager) fullBackup(ctx context.Context, req datastores.BackupRequest, now history) (stop lsn, err error) {
	tree, err := m.data.Open()
	if err != nil {
		return 0, err
	}
	defer func() { _ = tree.Close() }()
	data, err := tree.In(dataDir)
	if err != nil {
		return 0, err
	}
	defer func() { _ = data.Close() }()
	err = m.with(ctx, func(s *session) error {
		start, total, err := s.beginBackup(ctx)
		if err != nil {
			return err
		}
		req.Expect(total)
		w := dataWriter{data: data, tar: tar.NewWriter(req.Output)}
		if err := w.tree(ctx); err != nil {
			return fmt.Errorf("cannot read the data directory: %w", err)
		}
		rows, err := s.query(ctx, "SELECT lsn::text, labelfile FROM pg_backup_stop(false)")
		if err != nil || len(rows) != 1 {
			return failed(err, "cannot end the backup")
		}
		if stop, err = parseLSN(rows[0][0].String()); err != nil {
			return err
		}
		if err := w.text("backup_label", rows[0][1]); err != nil {
			return err
		}
		if err := w.file("global/pg_control"); err != nil { // after everything else, of a standby
			return fmt.Errorf("cannot read the control file: %w", err)
		}
		return m.writeLog(ctx, logRange{tar: w.tar, timeline: now.Timeline, from: start, to: stop, since: "the backup began"}, s)
	})
	return stop, err
}

// beginBackup begins one that ends with the session. total is an estimate of its size.
func (s *session) beginBackup(ctx context.Context) (start lsn, total int64, err error) {
	rows, err := s.query(ctx, `SELECT sum(pg_database_size(oid))::bigint,
		(SELECT count(*) FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')) FROM pg_database`)
	if err != nil {
		return 0, 0, failed(err, "cannot ask for the size of the data")
	}
	total = rows[0][0].int()
	if rows[0][1].int() > 0 {
		return 0, 0, datastores.Errorf(datastores.Conflict, "there is a tablespace outside of the data directory, which cannot be saved: drop it")
	}
	if _, err := s.query(ctx, "SELECT pg_create_physical_replication_slot('backup_' || pg_backend_pid(), true, true)"); err != nil {
		return 0, 0, failed(err, "cannot keep the log for the backup")
	}
	text, err := s.one(ctx, "SELECT pg_backup_start('coffer', true)::text")
	if err != nil {
		return 0, 0, failed(err, "cannot begin the backup")
	}
	start, err = parseLSN(text.String())
	return start, total, err
}

// dataWriter writes files of the data directory to a tar.
type dataWriter struct {
	data *volume.Tree
	tar  *tar.Writer
}

// skipped tells what is not worth saving, or would be wrong at another place; see the server's manual, "Backing Up the Data
// Directory". For a directory it reports so of its content.
func skipped(path string, entry fs.DirEntry) bool {
	if strings.HasPrefix(entry.Name(), "pgsql_tmp") {
		return true
	}
	switch path {
	case "pg_wal", "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans":
		return true
	case "postmaster.pid", "postmaster.opts", "backup_label", "tablespace_map", "backup_manifest", "current_logfiles",
		"standby.signal", "recovery.signal", "postgresql.auto.conf", "global/pg_control":
		return true
	}
	return !entry.IsDir() && (!entry.Type().IsRegular() || strings.HasPrefix(entry.Name(), "pg_internal.init"))
}

// tree writes everything but the control file.
func (w *dataWriter) tree(ctx context.Context) error {
	return w.data.Walk(".", func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // dropped meanwhile
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || path == "." {
			return err
		}
		skip := skipped(path, entry)
		if !entry.IsDir() {
			if skip {
				return nil
			}
			return w.file(path)
		}
		if err := w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: path + "/", Mode: 0o700}); err != nil {
			return err
		}
		if skip {
			return fs.SkipDir
		}
		return nil
	})
}

// file writes one as long as it is now. What the server does to it meanwhile the log makes good.
func (w *dataWriter) file(path string) error {
	f, err := w.data.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := w.tar.WriteHeader(&tar.Header{Name: path, Size: info.Size(), Mode: 0o600}); err != nil {
		return err
	}
	n, err := io.CopyN(w.tar, f, info.Size())
	if errors.Is(err, io.EOF) { // it has become shorter
		_, err = io.CopyN(w.tar, zeros{}, info.Size()-n)
	}
	return err
}

func (w *dataWriter) text(path string, content []byte) error {
	if err := w.tar.WriteHeader(&tar.Header{Name: path, Size: int64(len(content)), Mode: 0o600}); err != nil {
		return err
	}
	_, err := w.tar.Write(content)
	return err
}
