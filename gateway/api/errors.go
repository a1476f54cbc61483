package api

import (
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/cofferdb/coffer/gateway/fault"
)

// statuses is the one table from kinds to HTTP.
var statuses = map[fault.Kind]int{
	fault.BadRequest:      http.StatusBadRequest,
	fault.Unauthorized:    http.StatusUnauthorized,
	fault.Forbidden:       http.StatusForbidden,
	fault.ItemNotFound:    http.StatusNotFound,
	fault.BadMethod:       http.StatusMethodNotAllowed,
	fault.NotAcceptable:   http.StatusNotAcceptable,
	fault.Conflict:        http.StatusConflict,
	fault.Gone:            http.StatusGone,
	fault.OverLimit:       http.StatusRequestEntityTooLarge,
	fault.TooManyRequests: http.StatusTooManyRequests,
	fault.TooSlow:         http.StatusRequestTimeout,
	fault.BadMediaType:    http.StatusUnsupportedMediaType,
	fault.Unprocessable:   http.StatusUnprocessableEntity,
	fault.InstanceFault:   http.StatusInternalServerError,
	fault.NotImplemented:  http.StatusNotImplemented,
	fault.Unavailable:     http.StatusServiceUnavailable,
	fault.TimedOut:        http.StatusGatewayTimeout,
	fault.NoSpace:         http.StatusInsufficientStorage,
}

// fromRouter is the fault of what echo's router says: a path or method that is none.
func fromRouter(err error) error {
	if said, ok := errors.AsType[*echo.HTTPError](err); ok {
		for k, status := range statuses {
			if status == said.Code {
				return fault.Errorf(k, "%v", said.Message)
			}
		}
	}
	return err
}

// writeError is echo's error handler: the only place that turns an error into an answer.
func (a *API) writeError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	id := requestID(c)
	f := fault.Of(fromRouter(err), id)
	status := statuses[f.Kind]
	a.Control.Limits.Refused(f.Limit)
	if status >= 500 && c.Request().Context().Err() == nil {
		a.Control.Log.Error("request failed", "request_id", id, "method", c.Request().Method, "path", c.Path(), "status", status, "err", err)
	}
	body := map[string]any{"code": status, "message": f.Message}
	if f.RetryAfter > 0 {
		seconds := strconv.Itoa(int(math.Ceil(f.RetryAfter.Seconds())))
		c.Response().Header().Set("Retry-After", seconds)
		body["retryAfter"], body["details"] = seconds, f.Message // Trove's
	}
	if f.Kind == fault.Unauthorized {
		c.Response().Header().Set("WWW-Authenticate", `Keystone uri="/identity/v3"`)
	}
	if err := c.JSON(status, map[fault.Kind]any{f.Kind: body}); err != nil {
		a.Control.Log.Debug("cannot answer", "request_id", id, "err", err)
	}
}
