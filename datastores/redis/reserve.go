package redis

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/cofferdb/coffer/datastores/service"
)

const (
	reserveFile  = folder + "/reserve"
	reserveShare = 20        // a twentieth of the volume
	mostReserve  = 256 << 20 // bytes
)

// keepReserve takes space on a volume of the server's own, so that there is some left for a server that is stopped while the
// volume is full: it has acknowledged what it could not write yet. When there is no space to take the server does without.
func (m *Manager) keepReserve() error {
	if !m.data.Alone() {
		return nil
	}
	_, total, err := m.data.Space()
	if err != nil {
		return err
	}
	tree, err := m.data.Open()
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	f, err := tree.OpenFile(reserveFile, os.O_WRONLY)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = tree.Create(reserveFile)
	}
	if err != nil {
		return ignoreNoSpace(err)
	}
	err = ignoreNoSpace(syscall.Fallocate(int(f.Fd()), 0, 0, min(int64(total/reserveShare), mostReserve)))
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
	if err == nil {
		err = m.data.Remove(reserveFile)
	}
	for err == nil {
		var info map[string]string
		if info, err = m.info(ctx, "persistence"); info["aof_last_write_status"] == "ok" && info["aof_buffer_length"] == "0" {
			return
		}
		if err == nil && !service.Pause(ctx, 50*time.Millisecond) {
			err = ctx.Err()
		}
	}
	m.env.Log.Error("the volume is full and not all that was acknowledged is on it: a stop loses that", "err", err)
}
