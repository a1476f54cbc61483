package postgresql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// A server without space ends some statements with an error that says so. Where it cannot write its log it panics, so that every
// session breaks; where it cannot write a cache of its catalogue it lets nobody into the database, with an error that says nothing.

// leastSpace is what a server needs to go on: the next segment of its log.
const leastSpace = 16 << 20

// noSpace is in what the server says of the kernel's error ENOSPC.
const noSpace = "No space left on device"

// orFull says of an error that the volume is full when that is its cause: of an error that nobody foresaw, that is so on a volume
// where the server cannot go on. The error itself stays in the chain.
func (m *Manager) orFull(err error) error {
	var own *datastores.Error
	var said *pgconn.PgError
	reason := ""
	if words := (datastores.LastWords)(nil); errors.As(err, &words) {
		reason = datastores.Reason(words.LastWords())
	}
	start, program := (*startError)(nil), (*service.Failure)(nil)
	ended := errors.As(err, &start) || errors.As(err, &program)
	named := errors.Is(err, syscall.ENOSPC) || is(err, stateDiskFull) || strings.Contains(reason, noSpace)
	switch {
	case err == nil, errors.As(err, &own) && own.Kind != datastores.Internal:
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case named:
	case errors.As(err, &said) && kindOf(said.Code) != datastores.Internal, m.hasSpace():
		return err
	case ended && reason != datastores.Reason(""): // it is another one
		return err
	}
	told := &datastores.Error{Kind: datastores.Full, Message: "the volume is full; resize it", Detail: reason}
	if start != nil {
		told.Message = "the volume is full, and the server cannot start; resize the volume"
	}
	return fmt.Errorf("%w: %w", told, err)
}

func (m *Manager) hasSpace() bool {
	free, _, err := m.data.Space()
	return err != nil || free >= leastSpace
}

// isLockedOut reports whether the server runs and lets nobody in for want of space.
func isLockedOut(err error) bool {
	var own *datastores.Error
	var said *pgconn.PgError
	return errors.As(err, &own) && own.Kind == datastores.Full && errors.As(err, &said) && said.Code != stateNotYet
}
