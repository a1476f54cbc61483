// Package fault is what a client may be told went wrong: a kind in the words of Trove's faults, and one message that says what to do.
package fault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/identity"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// Kind is what went wrong, in the words of Trove's fault names.
type Kind string

const (
	BadRequest      Kind = "badRequest"
	Unauthorized    Kind = "unauthorized"
	Forbidden       Kind = "forbidden"
	ItemNotFound    Kind = "itemNotFound"
	BadMethod       Kind = "badMethod"
	NotAcceptable   Kind = "notAcceptable"
	Conflict        Kind = "conflict"
	Gone            Kind = "gone"
	OverLimit       Kind = "overLimit"
	TooManyRequests Kind = "tooManyRequests"
	TooSlow         Kind = "requestTimeout"
	BadMediaType    Kind = "badMediaType"
	Unprocessable   Kind = "unprocessableEntity"
	InstanceFault   Kind = "instanceFault"
	NotImplemented  Kind = "notImplemented"
	Unavailable     Kind = "serviceUnavailable"
	TimedOut        Kind = "gatewayTimeout"
	NoSpace         Kind = "insufficientStorage"
)

// agentKinds maps what an agent says went wrong.
var agentKinds = map[agentpoll.ErrorKind]Kind{
	agentpoll.Invalid:     BadRequest,
	agentpoll.Exists:      BadRequest,
	agentpoll.NotFound:    ItemNotFound,
	agentpoll.Conflict:    Unprocessable,
	agentpoll.Unsupported: NotImplemented,
	agentpoll.Expired:     TimedOut,
	agentpoll.Cancelled:   Unprocessable,
	agentpoll.Unavailable: Unavailable,
	agentpoll.Full:        NoSpace,
	agentpoll.Refused:     Unavailable,
}

// Error is an error that a client may read.
type Error struct {
	Kind       Kind
	Message    string
	RetryAfter time.Duration // 0: not said
	Limit      string        // that was exceeded, of the table; "": none
}

func (f *Error) Error() string { return f.Message }

func Errorf(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// AgentSaid reports whether err is an agent's own.
func AgentSaid(err error) bool {
	_, is := errors.AsType[*agentpoll.Error](err)
	return is
}

// Of finds what a client may be told of err. What nobody foresaw is an instanceFault without particulars.
func Of(err error, requestID string) *Error {
	var (
		own    *Error
		state  *lifecycle.NotAllowed
		inWay  *lifecycle.Conflict
		leads  *lifecycle.Leading
		alone  *lifecycle.Hostless
		badKey *etcdschema.ErrBadKey
		agent  *agentpoll.Error
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &state):
		return Errorf(Unprocessable, "%s", state.Message)
	case errors.As(err, &inWay):
		return Errorf(Conflict, "%s", inWay.Message)
	case errors.As(err, &leads):
		return Errorf(Forbidden, "%s", leads.Message)
	case errors.As(err, &alone):
		return Errorf(NotImplemented, "%s", alone.Message)
	case errors.As(err, &badKey):
		return Errorf(ItemNotFound, "%s %q cannot be found.", badKey.Part, badKey.Value)
	case errors.Is(err, etcdschema.ErrNotFound):
		return Errorf(ItemNotFound, "The resource cannot be found.")
	case errors.Is(err, etcdschema.ErrTooLarge):
		return Errorf(OverLimit, "The request asks for more than one record can hold; make several requests.")
	case errors.Is(err, identity.ErrUnauthorized):
		return Errorf(Unauthorized, "The token is missing, unknown or has expired. Log in again.")
	case errors.As(err, &agent):
		if k, ok := agentKinds[agent.Kind]; ok {
			return Errorf(k, "%s", agent.Message)
		}
		return Errorf(InstanceFault, "The guest failed: %s", agent.Message)
	case etcdschema.Full(err):
		return &Error{Kind: NoSpace, Message: etcdschema.TakesNoWrites, RetryAfter: time.Minute}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, etcdschema.ErrConflict):
		return &Error{Kind: Unavailable, Message: "The store is busy or out of reach. Try again.", RetryAfter: 2 * time.Second}
	}
	return Errorf(InstanceFault, "Internal Server Error. Please keep this ID to help us figure out what went wrong: (%s).", requestID)
}

func NotFound(what, id string) error { return Errorf(ItemNotFound, "%s %s cannot be found.", what, id) }

// Found turns a record that is not there into a 404.
func Found[T any](rec etcdschema.Record[T], err error, what, id string) (T, error) {
	if err == nil && !rec.Found {
		err = NotFound(what, id)
	}
	return rec.Value, err
}

// IsNotFound reports whether an error is that something is not there.
func IsNotFound(err error) bool { return err != nil && Of(err, "").Kind == ItemNotFound }

// Refusal is why something was refused, in words for whom it is done later; nil: err does not say that. It is none, etcd did not answer, or
// nobody foresaw it.
func Refusal(err error) *Error {
	if err == nil || etcdschema.Outage(err) {
		return nil
	}
	if why := Of(err, ""); why.Kind != InstanceFault {
		return why
	}
	return nil
}
