package redis

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	reserveFile  = folder + "/reserve"
	reserveShare = 20        // a twentieth of the volume
	mostReserve  = 256 << 20 // bytes
)

// keepReserve takes space on a volume of the server's own, so that there is some left for a server that is stopped while the
// volume is full: it has acknowledged what it could not write yet. When there is no space to take the server does without.
func (m *Manager) keepReserve() error {
	var here, above syscall.Stat_t
	var fs syscall.Statfs_t
	err := errors.Join(syscall.Stat(m.env.DataDir, &here), syscall.Stat(filepath.Dir(m.env.DataDir), &above), syscall.Statfs(m.env.DataDir, &fs))
	if err != nil || here.Dev == above.Dev {
		return err
	}
	root, err := os.OpenRoot(m.env.DataDir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	f, err := root.OpenFile(reserveFile, os.O_WRONLY|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return ignoreNoSpace(err)
	}
	size := min(int64(fs.Blocks)*fs.Bsize/reserveShare, mostReserve)
	err = ignoreNoSpace(syscall.Fallocate(int(f.Fd()), 0, 0, size))
	return errors.Join(err, f.Close())
}

func ignoreNoSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EOPNOTSUPP) {
		return nil
	}
	return err
}

// flush lets a server that could not write its append-only file use the reserve, and nobody else.
func (m *Manager) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if !refusesWrites(m.ping(ctx)) {
		return
	}
	err := m.call(ctx, []string{"CLIENT", "PAUSE", "60000", "WRITE"})
	root, openErr := os.OpenRoot(m.env.DataDir)
	if err = errors.Join(err, openErr); err == nil {
		err = errors.Join(root.Remove(reserveFile), root.Close())
	}
	for err == nil {
		var info map[string]string
		if info, err = m.info(ctx, "persistence"); info["aof_last_write_status"] == "ok" && info["aof_buffer_length"] == "0" {
			return
		}
		if err == nil {
			err = pause(ctx, 50*time.Millisecond)
		}
	}
	m.env.Log.Error("the volume is full and not all that was acknowledged is on it: a stop loses that", "err", err)
}
