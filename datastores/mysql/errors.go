package mysql

import (
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"

	"github.com/cofferdb/coffer/datastores"
)

// The server's error numbers that say something of the request. See its reference, "MariaDB Error Code Reference".
const (
	errDatabaseExists     = 1007
	errDatabaseUnknown    = 1008 // of DROP
	errTooManyConnections = 1040 // of the tenant's, the one that is kept for administrators included
	errDatabaseDenied     = 1044
	errAccessDenied       = 1045
	errDiskFull           = 1021
	errTableFull          = 1114
	errNoDatabase         = 1049
	errNotReady           = 1047 // of a member of a cluster
	errNameTooLong        = 1059
	errNoSuchThread       = 1094
	errTableDenied        = 1142
	errRightDenied        = 1227
	errDatabaseName       = 1102
	errCharacterSet       = 1115
	errNoMatchingUser     = 1133
	errNoSuchGrant        = 1141
	errWrongValue         = 1231 // of a variable
	errWrongType          = 1232 // of a variable
	errLockWaitTimeout    = 1205
	errCollationMismatch  = 1253
	errCollation          = 1273
	errReadOnly           = 1290
	errNoTable            = 1146
	errLogInUse           = 1378 // of PURGE
	errInvalidText        = 1300
	errConflictingClauses = 1302
	errUserStatement      = 1396 // of CREATE, DROP and RENAME: somebody else was quicker
	errStringTooLong      = 1470
)

// failed tells a tenant what the server said. doing is what was tried, such as `cannot create database "x"`.
func failed(err error, doing string, args ...any) error {
	if err == nil {
		return nil
	}
	if own := new(datastores.Error); errors.As(err, &own) {
		return err
	}
	doing = fmt.Sprintf(doing, args...)
	var said *mysql.MySQLError
	if !errors.As(err, &said) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	switch said.Number {
	case errTooManyConnections:
		return datastores.Errorf(datastores.Unavailable, "%s: all connections are taken; a restart of the instance ends them", doing)
	case errDiskFull, errTableFull:
		return datastores.Errorf(datastores.Full, "%s: the volume is full; resize it", doing)
	case errAccessDenied, errRightDenied, errTableDenied:
		return datastores.Errorf(datastores.Conflict, "%s: root has changed the account %s@localhost, which is the guest's; "+
			"a restart of the instance brings it back", doing, adminUser)
	case errNotReady:
		return datastores.Errorf(datastores.Unavailable, "%s: the server is not with most of its cluster", doing)
	case errLockWaitTimeout:
		return datastores.Errorf(datastores.Conflict, "%s: another session holds a lock that this needs; end that session, "+
			"or restart the instance, which ends all", doing)
	}
	kind := kindOf(said.Number)
	if kind == datastores.Internal { // nobody foresaw it: what the server quotes may be a statement or a row
		return &serverError{datastores.Errorf(kind, "%s: the server answered with error %d", doing, said.Number), said}
	}
	return datastores.Errorf(kind, "%s: %s (error %d)", doing, said.Message, said.Number)
}

// serverError is what a tenant is told, and what the server said, for operators.
type serverError struct {
	told *datastores.Error
	said *mysql.MySQLError
}

func (e *serverError) Error() string     { return e.told.Message }
func (e *serverError) Unwrap() []error   { return []error{e.told, e.said} }
func (e *serverError) LastWords() string { return "error: " + e.said.Message }

func kindOf(number uint16) datastores.ErrorKind {
	switch number {
	case errDatabaseExists:
		return datastores.Exists
	case errDatabaseUnknown, errNoDatabase, errNoMatchingUser, errNoSuchGrant:
		return datastores.NotFound
	case errNameTooLong, errDatabaseName, errCharacterSet, errCollationMismatch, errCollation, errInvalidText,
		errConflictingClauses, errStringTooLong, errDatabaseDenied, errWrongValue, errWrongType:
		return datastores.Invalid
	case errReadOnly, errUserStatement:
		return datastores.Conflict
	}
	return datastores.Internal
}

// is reports whether the server's answer was one of the numbers.
func is(err error, number uint16) bool {
	var said *mysql.MySQLError
	return errors.As(err, &said) && said.Number == number
}
