package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

// verdict says what to do about a call that failed. This file is the only place that decides it.
type verdict int

const (
	again  verdict = iota // the same call may succeed soon
	slower                // it may succeed after somebody did something: ask seldom, never give up
	never                 // this very call will not succeed
)

// callError is a call that got no useful answer.
type callError struct {
	call       string // "poll"
	gateway    string
	status     int // 0: there was no answer
	retryAfter time.Duration
	err        error
}

func (e *callError) Error() string {
	if e.status == 0 {
		return fmt.Sprintf("%s at %s: %v", e.call, e.gateway, e.err)
	}
	return fmt.Sprintf("%s at %s: answer %d: %v", e.call, e.gateway, e.status, e.err)
}

func (e *callError) Unwrap() error { return e.err }

// judge says what to do about err. Connection errors and answers that do not decode are like a 5xx.
func judge(err error) verdict {
	switch status := statusOf(err); {
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound:
		return slower
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		return again
	case status >= 400 && status < 500:
		return never
	}
	return again
}

// cut reports whether a call was ended by something on the way, such as a proxy with a short timeout. A poll is simply
// repeated then, at the same gateway.
func cut(err error, lived time.Duration) bool {
	status := statusOf(err)
	onTheWay := status == 0 || status == http.StatusBadGateway || status == http.StatusGatewayTimeout
	return onTheWay && lived >= cutAfter
}

const cutAfter = 3 * time.Second

// elsewhere reports whether another gateway may do better. ctx is the call's.
func elsewhere(ctx context.Context, err error, lived time.Duration) bool {
	switch status := statusOf(err); {
	case errors.Is(ctx.Err(), context.Canceled):
		return false // the agent gave it up itself
	case ctx.Err() != nil:
		return true // nothing came back at all
	case status >= 400 && status < 500, status == http.StatusInsufficientStorage: // of the store of all
		return false
	}
	return !cut(err, lived)
}

// statusOf is the HTTP status of the answer, 0 when there was none.
func statusOf(err error) int {
	if ce, ok := errors.AsType[*callError](err); ok {
		return ce.status
	}
	return 0
}

// The back-off of the kinds of failure that are worth a retry. A restarted gateway should have everybody back in
// seconds, so that nobody waits long who could not even connect; a gateway that answers that it cannot is spared; an
// agent that is not welcome must cost nothing.
const (
	againFirst, againCap   = time.Second, time.Minute
	unreachableCap         = 15 * time.Second
	slowerFirst, slowerCap = time.Minute, 15 * time.Minute
	maxRetryAfter          = 5 * time.Minute
)

// backoff counts the failures of one kind in a row of one caller.
type backoff struct {
	failures int
	last     verdict
}

// next is how long to wait after err. The jitter is the whole of the doubled and capped time, so that agents that
// failed together do not come back together, not even at the cap. What Retry-After asks for comes on top.
func (b *backoff) next(err error) time.Duration {
	verdict := judge(err)
	if verdict != b.last {
		*b = backoff{last: verdict}
	}
	first, limit := againFirst, againCap
	switch {
	case verdict != again:
		first, limit = slowerFirst, slowerCap
	case unreachable(err):
		limit = unreachableCap
	}
	d := min(first<<min(b.failures, 16), limit)
	b.failures++
	wait := jitter(d)
	if ce, ok := errors.AsType[*callError](err); ok {
		wait += min(ce.retryAfter, maxRetryAfter)
	}
	return wait
}

// unreachable reports whether there was nobody to connect to.
func unreachable(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

func (b *backoff) reset() { *b = backoff{} }

// jitter is a random time of up to d.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d) + 1
}

// sleep waits for d, or less when ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
