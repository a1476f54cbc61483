package agentpoll

import "fmt"

// ErrorKind says what sort of thing went wrong, independent of who says it. The gateway maps a kind to an HTTP status
// in one table.
type ErrorKind string

const (
	Invalid     ErrorKind = "invalid"     // the arguments are wrong; 400
	NotFound    ErrorKind = "not_found"   // the named thing is not there; 404
	Exists      ErrorKind = "exists"      // the named thing is there already; 400 in Trove's API
	Conflict    ErrorKind = "conflict"    // not possible in the present state; 422
	Unsupported ErrorKind = "unsupported" // the agent has no such method; 501
	Cancelled   ErrorKind = "cancelled"   // the gateway asked for it
	Expired     ErrorKind = "expired"     // the deadline had passed before it was started; 504
	Unavailable ErrorKind = "unavailable" // not possible for now: all connections are taken; 503
	Full        ErrorKind = "full"        // there is no space left: on a volume, in a store of backups; 507
	Refused     ErrorKind = "refused"     // the agent obeys only its own gateways, and they have not signed the command; 503
	Internal    ErrorKind = "internal"    // anything else; 500
)

// Error is a failure as it travels in a [Result]. Message is one sentence for a tenant: the reason first, then what to do.
// It holds no secret, row, statement or path of the host. Detail is for operators: a tool's last words, bounded by who
// makes it; tenants never see it.
type Error struct {
	Kind    ErrorKind `json:"kind"`
	Message string    `json:"message"`
	Detail  string    `json:"detail,omitempty"`
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an *Error; the message is formatted as by fmt.Sprintf.
func Errorf(kind ErrorKind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// What is said when the store of backups takes no more, by whoever finds out: a gateway, or an agent that it has sent there.
const (
	StoreFull   = "the store of backups is full: delete backups, or ask the operator for more space"
	StoreDenies = "the store of backups denies access: ask the operator"
)

// ErrorReply is the body of every answer of 400 and above. Its Kind may be one that no [Result] has: "unauthorized",
// "locked", "gone", "too_large", "overloaded".
type ErrorReply struct {
	Error Error `json:"error"`
}
