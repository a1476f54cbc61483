package postgresql

import (
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cofferdb/coffer/datastores"
)

// The server's SQLSTATEs that say something of the request. See its manual, appendix A.
const (
	stateSyntax          = "42601"
	stateNoDatabase      = "3D000"
	stateNotAuthorised   = "28000"
	stateNotAllowed      = "42501" // also of a login with a setting that only a superuser may make
	stateWrongPassword   = "28P01"
	stateManyConnections = "53300"
	stateLocked          = "55P03"
	stateNoFile          = "58P01" // also of a WAL segment that is gone
	stateNotInState      = "55000"
	stateUndefined       = "42704" // of a role, a slot
	stateWrongKind       = "42809" // of a locale that is none
	stateDuplicate       = "42710"
	stateDuplicateDB     = "42P04"
	stateUnique          = "23505" // in a catalogue: somebody else is just making the same
	stateDiskFull        = "53100"
	stateNotYet          = "57P03" // while it starts, recovers or ends
	stateInUse           = "55006"
	stateDepended        = "2BP01"
)

// failed tells a tenant what the server said. doing is what was tried, such as `cannot create database "x"`.
func failed(err error, doing string, args ...any) error {
	if err == nil {
		return nil
	}
	if own := (*datastores.Error)(nil); errors.As(err, &own) {
		return err
	}
	doing = fmt.Sprintf(doing, args...)
	var said *pgconn.PgError
	if !errors.As(err, &said) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	kind := kindOf(said.Code)
	if said.Code == stateUnique && said.SchemaName == "pg_catalog" {
		return datastores.Errorf(datastores.Exists, "%s: it is there already (%s)", doing, said.Code)
	}
	if kind == datastores.Internal { // nobody foresaw it: what the server quotes may be a statement or a row
		return &serverError{datastores.Errorf(kind, "%s: the server answered with error %s", doing, said.Code), said}
	}
	message := said.Message
	if said.Detail != "" {
		message += " (" + said.Detail + ")"
	}
	return datastores.Errorf(kind, "%s: %s (%s)", doing, message, said.Code)
}

// serverError is what a tenant is told, and what the server said, for operators.
type serverError struct {
	told *datastores.Error
	said *pgconn.PgError
}

func (e *serverError) Error() string     { return e.told.Message }
func (e *serverError) Unwrap() []error   { return []error{e.told, e.said} }
func (e *serverError) LastWords() string { return "error: " + e.said.Message }

func kindOf(state string) datastores.ErrorKind {
	switch state {
	case stateDuplicateDB, stateDuplicate:
		return datastores.Exists
	case stateNoDatabase, stateUndefined:
		return datastores.NotFound
	case "22023", "22021", "42602", "42622", "42939", "42P22": // of values, encodings, names, reserved names, collations
		return datastores.Invalid
	case stateManyConnections:
		return datastores.Unavailable
	case stateDiskFull:
		return datastores.Full
	case "25006", stateInUse, stateDepended, stateNotInState, stateLocked: // read-only, in use, depended upon
		return datastores.Conflict
	}
	return datastores.Internal
}

// is reports whether the server's answer was one of the states.
func is(err error, states ...string) bool {
	var said *pgconn.PgError
	return errors.As(err, &said) && slices.Contains(states, said.Code)
}
