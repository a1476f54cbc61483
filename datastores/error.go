package datastores

import "fmt"

// ErrorKind says what sort of thing went wrong. The words are those of the agent protocol.
type ErrorKind string

const (
	Invalid     ErrorKind = "invalid"
	NotFound    ErrorKind = "not_found"
	Exists      ErrorKind = "exists"
	Conflict    ErrorKind = "conflict"
	Unsupported ErrorKind = "unsupported"
	Unavailable ErrorKind = "unavailable" // not for now: all connections are taken
	Full        ErrorKind = "full"        // no space is left
	Internal    ErrorKind = "internal"
)

// Error is a failure that a tenant may read: it names what was asked for, says what to do where that is known, and
// never holds a secret. An error of another type is told as Internal with its text.
type Error struct {
	Kind    ErrorKind
	Message string
	// Detail is for operators, such as a tool's last words. Tenants never see it; it holds no secret all the same.
	Detail string
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an *Error; the message is formatted as by fmt.Sprintf.
func Errorf(kind ErrorKind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}
