package server

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// What the server itself refuses.
var (
	errOverload = errors.New("too many calls at present: ask again after the time in Retry-After")
	errDraining = errors.New("this gateway is going away: ask another")
	errNotReady = errors.New("this gateway does not know yet what is pending: ask again")
	errTooLarge = errors.New("the body is larger than 1 MiB")
	errSlowBody = errors.New("the body did not come to its end within 10 s")
	errMethod   = errors.New("the method is not allowed here")
	errNoCall   = errors.New("there is no such call")
)

// tooFast is errOverload of one caller.
type tooFast struct {
	limit string
	wait  time.Duration // until there is room again
}

func (e *tooFast) Error() string        { return errOverload.Error() }
func (e *tooFast) Is(target error) bool { return target == errOverload }

// maxRetryAfter is the longest Retry-After, in seconds, before its jitter.
const maxRetryAfter = 150

// overLimit is nil when there is nothing to wait for.
func overLimit(limit string, wait time.Duration) error {
	if wait == 0 {
		return nil
	}
	return &tooFast{limit, wait}
}

// refusal is how an error is told over HTTP.
type refusal struct {
	status int
	kind   agentpoll.ErrorKind
	retry  int // seconds of the shortest Retry-After; the longest is twice that. 0: none
}

// refusals says how each error is told. An error that is not here, nor an *agentpoll.Error, is the Backend's.
var refusals = []struct {
	err error
	refusal
}{
	{ErrUnauthorized, refusal{http.StatusUnauthorized, "unauthorized", 10}},
	{ErrLocked, refusal{http.StatusForbidden, "locked", 30}},
	{ErrGone, refusal{http.StatusGone, "gone", 0}},
	{errOverload, refusal{http.StatusTooManyRequests, "overloaded", 5}},
	{errDraining, refusal{http.StatusServiceUnavailable, "unavailable", 1}},
	{errNotReady, refusal{http.StatusServiceUnavailable, "unavailable", 2}},
	{errTooLarge, refusal{http.StatusRequestEntityTooLarge, "too_large", 0}},
	{errSlowBody, refusal{http.StatusRequestTimeout, agentpoll.Invalid, 1}},
	{errMethod, refusal{http.StatusMethodNotAllowed, agentpoll.Unsupported, 0}},
	{errNoCall, refusal{http.StatusNotFound, agentpoll.NotFound, 0}},
}

// statuses gives the status of an *agentpoll.Error.
var statuses = map[agentpoll.ErrorKind]int{
	agentpoll.Invalid:     http.StatusBadRequest,
	agentpoll.Exists:      http.StatusBadRequest,
	agentpoll.NotFound:    http.StatusNotFound,
	agentpoll.Conflict:    http.StatusUnprocessableEntity,
	agentpoll.Cancelled:   http.StatusUnprocessableEntity,
	agentpoll.Unsupported: http.StatusNotImplemented,
	agentpoll.Expired:     http.StatusGatewayTimeout,
	agentpoll.Unavailable: http.StatusServiceUnavailable,
	agentpoll.Full:        http.StatusInsufficientStorage,
	agentpoll.Internal:    http.StatusInternalServerError,
}

// refuse says how err is told. ours is false for an error of the Backend, of which nobody outside may read more than
// that it happened.
func refuse(err error) (r refusal, message string, ours bool) {
	for _, known := range refusals {
		if errors.Is(err, known.err) {
			return known.refusal, known.err.Error(), true
		}
	}
	if e, ok := errors.AsType[*agentpoll.Error](err); ok {
		if status, ok := statuses[e.Kind]; ok {
			return refusal{status: status, kind: e.Kind}, e.Message, true
		}
	}
	return refusal{http.StatusServiceUnavailable, "unavailable", 2}, "the call could not be served: ask again", false
}

// retryAfter is the header's value: jittered, so that those who were refused together do not come back together.
func (r refusal) retryAfter() string { return strconv.Itoa(r.retry + rand.IntN(r.retry+1)) }
