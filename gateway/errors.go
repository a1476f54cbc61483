package gateway

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/identity"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// kind is what went wrong, in the words of Trove's fault names.
type kind string

const (
	badRequest      kind = "badRequest"
	unauthorized    kind = "unauthorized"
	forbidden       kind = "forbidden"
	itemNotFound    kind = "itemNotFound"
	badMethod       kind = "badMethod"
	notAcceptable   kind = "notAcceptable"
	conflict        kind = "conflict"
	overLimit       kind = "overLimit"
	tooManyRequests kind = "tooManyRequests"
	tooSlow         kind = "requestTimeout"
	badMediaType    kind = "badMediaType"
	unprocessable   kind = "unprocessableEntity"
	instanceFault   kind = "instanceFault"
	notImplemented  kind = "notImplemented"
	unavailable     kind = "serviceUnavailable"
	timedOut        kind = "gatewayTimeout"
	noSpace         kind = "insufficientStorage"
)

// statuses is the one table from kinds to HTTP.
var statuses = map[kind]int{
	badRequest:      http.StatusBadRequest,
	unauthorized:    http.StatusUnauthorized,
	forbidden:       http.StatusForbidden,
	itemNotFound:    http.StatusNotFound,
	badMethod:       http.StatusMethodNotAllowed,
	notAcceptable:   http.StatusNotAcceptable,
	conflict:        http.StatusConflict,
	overLimit:       http.StatusRequestEntityTooLarge,
	tooManyRequests: http.StatusTooManyRequests,
	tooSlow:         http.StatusRequestTimeout,
	badMediaType:    http.StatusUnsupportedMediaType,
	unprocessable:   http.StatusUnprocessableEntity,
	instanceFault:   http.StatusInternalServerError,
	notImplemented:  http.StatusNotImplemented,
	unavailable:     http.StatusServiceUnavailable,
	timedOut:        http.StatusGatewayTimeout,
	noSpace:         http.StatusInsufficientStorage,
}

// agentKinds maps what an agent says went wrong.
var agentKinds = map[agentpoll.ErrorKind]kind{
	agentpoll.Invalid:     badRequest,
	agentpoll.Exists:      badRequest,
	agentpoll.NotFound:    itemNotFound,
	agentpoll.Conflict:    unprocessable,
	agentpoll.Unsupported: notImplemented,
	agentpoll.Expired:     timedOut,
	agentpoll.Cancelled:   unprocessable,
	agentpoll.Unavailable: unavailable,
	agentpoll.Full:        noSpace,
	agentpoll.Refused:     unavailable,
}

// fault is an error that a client may read.
type fault struct {
	kind       kind
	message    string
	retryAfter time.Duration // 0: not said
	limit      string        // that was exceeded, of the table; "": none
}

func (f *fault) Error() string { return f.message }

func faultf(k kind, format string, args ...any) *fault {
	return &fault{kind: k, message: fmt.Sprintf(format, args...)}
}

// agentSaid reports whether err is an agent's own.
func agentSaid(err error) bool {
	_, is := errors.AsType[*agentpoll.Error](err)
	return is
}

// faultOf finds what a client may be told of err. What nobody foresaw is an instanceFault without particulars.
func faultOf(err error, requestID string) *fault {
	var (
		own     *fault
		state   *lifecycle.NotAllowed
		badKey  *etcdschema.ErrBadKey
		agent   *agentpoll.Error
		fromWeb *echo.HTTPError
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &state):
		return faultf(unprocessable, "%s", state.Message)
	case errors.As(err, &badKey):
		return faultf(itemNotFound, "%s %q cannot be found.", badKey.Part, badKey.Value)
	case errors.Is(err, etcdschema.ErrNotFound):
		return faultf(itemNotFound, "The resource cannot be found.")
	case errors.Is(err, etcdschema.ErrTooLarge):
		return faultf(overLimit, "The request asks for more than one record can hold; make several requests.")
	case errors.Is(err, identity.ErrUnauthorized):
		return faultf(unauthorized, "The token is missing, unknown or has expired. Log in again.")
	case errors.As(err, &agent):
		if k, ok := agentKinds[agent.Kind]; ok {
			return faultf(k, "%s", agent.Message)
		}
		return faultf(instanceFault, "The guest failed: %s", agent.Message)
	case errors.As(err, &fromWeb):
		for k, status := range statuses {
			if status == fromWeb.Code {
				return faultf(k, "%v", fromWeb.Message)
			}
		}
	case etcdschema.Full(err):
		return &fault{kind: noSpace, message: etcdschema.TakesNoWrites, retryAfter: time.Minute}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, etcdschema.ErrConflict):
		return &fault{kind: unavailable, message: "The store is busy or out of reach. Try again.", retryAfter: 2 * time.Second}
	}
	return faultf(instanceFault, "Internal Server Error. Please keep this ID to help us figure out what went wrong: (%s).", requestID)
}

// writeError is echo's error handler: the only place that turns an error into an answer.
func (g *Gateway) writeError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	id := requestID(c)
	f := faultOf(err, id)
	status := statuses[f.kind]
	g.Limits.Refused(f.limit)
	if status >= 500 && c.Request().Context().Err() == nil {
		g.log.Error("request failed", "request_id", id, "method", c.Request().Method, "path", c.Path(), "status", status, "err", err)
	}
	body := map[string]any{"code": status, "message": f.message}
	if f.retryAfter > 0 {
		seconds := strconv.Itoa(int(math.Ceil(f.retryAfter.Seconds())))
		c.Response().Header().Set("Retry-After", seconds)
		body["retryAfter"] = seconds // Trove's
	}
	if f.kind == unauthorized {
		c.Response().Header().Set("WWW-Authenticate", `Keystone uri="/identity/v3"`)
	}
	if err := c.JSON(status, map[kind]any{f.kind: body}); err != nil {
		g.log.Debug("cannot answer", "request_id", id, "err", err)
	}
}

func notFound(what, id string) error { return faultf(itemNotFound, "%s %s cannot be found.", what, id) }

// mustFind turns a record that is not there into a 404.
func mustFind[T any](rec etcdschema.Record[T], err error, what, id string) (T, error) {
	if err == nil && !rec.Found {
		err = notFound(what, id)
	}
	return rec.Value, err
}
