package mysql

import (
	"context"
	"database/sql"
	"errors"
	"regexp"
	"syscall"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// A server that has no space for its binary log keeps the statement waiting. That statement holds the lock of the binary log, so
// whatever else writes waits, too, and nothing tells anybody. The server looks every minute whether there is space, and whether
// the statement was ended meanwhile.

// leastSpace is how much of a volume is left at least as long as the server can write: it writes in smaller pieces.
const leastSpace = 256 << 10

// full is the error of whatever needs space when the volume has none.
func (m *Manager) full() error {
	if free, _, err := m.data.Space(); err != nil || free >= leastSpace {
		return nil
	}
	if m.removable() {
		return datastores.Errorf(datastores.Full, "the volume is full and the server keeps writes waiting; resize the volume, or restart the instance, which removes old binary logs")
	}
	return datastores.Errorf(datastores.Full, "the volume is full and the server keeps writes waiting; resize the volume")
}

// answers is ping for a server that is to take writes.
func (m *Manager) answers(ctx context.Context) error {
	if err := m.full(); err != nil {
		return err
	}
	if err := m.ping(ctx); err != nil {
		return err
	}
	if in, err := m.loadMember(); err != nil || in == nil || !m.groups() {
		return err
	}
	return m.session(func(db *sql.DB) error { return m.isWell(ctx, db) })
}

// orFull says of an error of a start that there is no space left, when that is its cause.
func (m *Manager) orFull(err error) error {
	reason := ""
	if failure := (*service.Failure)(nil); errors.As(err, &failure) {
		reason = datastores.Reason(failure.Words)
	}
	if !errors.Is(err, syscall.ENOSPC) && (reason == "" || m.full() == nil && !outOfSpace.MatchString(reason)) {
		return err
	}
	return &datastores.Error{Kind: datastores.Full, Message: "the volume is full, and the server cannot start; resize the volume", Detail: reason}
}

// outOfSpace is in what the server and its storage engines say of the kernel's error 28.
var outOfSpace = regexp.MustCompile(`No space left on device|error (number )?28\b`)
