package postgresql

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// An incremental backup is the write-ahead log since its parent. The server keeps the last part of its log in any case
// (wal_keep_size, by the size of the volume), and from there it is read. Neither an archive nor a slot is needed for that:
// there is nothing that a backup has to make, to advance or to take away, so a backup that fails or is thrown away changes
// nothing, an earlier parent is as good as the last one, and the room that it takes has a limit. The price: when more has
// been written since the parent, a full backup has to be made, which is then the cheaper one to restore, too.

// walBackup writes the segments of the log from the parent's end to now as a tar, and returns where it ends.
func (m *Manager) walBackup(ctx context.Context, req datastores.BackupRequest, now history) (lsn, error) {
	var parent backupMeta
	if err := json.Unmarshal(req.Parent.Meta, &parent); err != nil {
		return 0, datastores.Errorf(datastores.Conflict, "it is not known where backup %s ends: take a full backup", req.Parent.ID)
	}
	if parent.InstanceID != m.env.InstanceID || parent.history != now {
		return 0, datastores.Errorf(datastores.Conflict, "the server has begun another history since backup %s "+
			"(by a promotion, a restore or an upgrade): take a full backup", req.Parent.ID)
	}
	start, err := parseLSN(parent.Stop)
	if err != nil {
		return 0, err
	}
	var stop lsn
	err = m.with(ctx, func(s *session) (err error) {
		if stop, err = s.logEnd(ctx); err != nil {
			return err
		}
		if stop < start {
			return datastores.Errorf(datastores.Conflict, "the server is behind backup %s: take a full backup", req.Parent.ID)
		}
		req.Expect(int64(stop - start))
		return m.writeLog(ctx, logRange{
			tar: tar.NewWriter(req.Output), timeline: now.Timeline, from: start, to: stop, since: "backup " + req.Parent.ID,
		}, s)
	})
	return stop, err
}

// logEnd tells how far the log is on the disk.
func (s *session) logEnd(ctx context.Context) (lsn, error) {
	end, err := s.one(ctx, `SELECT CASE WHEN pg_is_in_recovery()
		THEN greatest(pg_last_wal_replay_lsn(), pg_last_wal_receive_lsn()) ELSE pg_current_wal_flush_lsn() END::text`)
	if err != nil {
		return 0, failed(err, "cannot ask for the end of the log")
	}
	return parseLSN(end.String())
}

// logRange is a part of the write-ahead log that is to be written to a tar.
type logRange struct {
	tar      *tar.Writer
	timeline int
	from, to lsn
	since    string // for a person: since when
}

// writeLog writes the segments of a part of the log, and ends the tar.
func (m *Manager) writeLog(ctx context.Context, r logRange, s *session) error {
	setting, err := s.one(ctx, "SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'")
	if err != nil {
		return failed(err, "cannot ask for the size of the log's segments")
	}
	size := lsn(setting.int())
	if size == 0 {
		return errors.New("the server does not tell the size of the log's segments")
	}
	return m.inLog(func(log *volume.Tree) error {
		for n := r.from / size; n*size < r.to; n++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := r.segment(log, n, size); err != nil {
				return err
			}
		}
		return r.tar.Close()
	})
}

// inLog opens the directory of the log.
func (m *Manager) inLog(do func(log *volume.Tree) error) error {
	tree, err := m.data.Open()
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	log, err := tree.In(dataDir + "/pg_wal")
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	return do(log)
}

// segment writes the n-th segment of the log, of which what lies beyond the end becomes zero: there the replay ends.
func (r logRange) segment(log *volume.Tree, n, size lsn) error {
	name := segmentName(r.timeline, n, size)
	f, err := log.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return r.gone()
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := r.tar.WriteHeader(&tar.Header{Name: "pg_wal/" + name, Size: int64(size), Mode: 0o600}); err != nil {
		return err
	}
	used := min(size, r.to-n*size)
	if _, err := io.CopyN(r.tar, f, int64(used)); err != nil {
		return fmt.Errorf("cannot read the log: %w", err)
	}
	if _, err := io.CopyN(r.tar, zeros{}, int64(size-used)); err != nil {
		return err
	}
	// The server writes over old segments under new names. A segment that still has its name has not been written over.
	return r.still(log, name, f)
}

// still returns an error when what has the name is not the file that was read any more.
func (r logRange) still(log *volume.Tree, name string, f *os.File) error {
	read, err := f.Stat()
	if err != nil {
		return err
	}
	if there, err := log.Lstat(name); err != nil || !os.SameFile(read, there) {
		return r.gone()
	}
	return nil
}

// segmentName names the n-th segment of the log.
func segmentName(timeline int, n, size lsn) string {
	perFile := lsn(1<<32) / size
	return fmt.Sprintf("%08X%08X%08X", timeline, uint64(n/perFile), uint64(n%perFile))
}

func (r logRange) gone() error {
	return datastores.Errorf(datastores.Conflict, "the server has written more since %s than it keeps of its log: take a full backup", r.since)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
