package agent

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/agentpoll"
)

// PutSegment sends a segment of a backup, and again until the gateway has it, refuses it, or ctx ends. A refusal is an
// *agentpoll.Error. body is not used any more when it returns.
func (a *Agent) PutSegment(ctx context.Context, backupID string, n int, body []byte) error {
	path := commandPath(agentpoll.PathSegment, backupID)
	return a.carry(ctx, &transfer{name: "put segment", method: http.MethodPut, path: numbered(path, n), body: body})
}

// GetSegment reads a segment of a backup, and again until it has all of it, the gateway refuses, or ctx ends. A refusal is an
// *agentpoll.Error, of kind NotFound when there is none.
func (a *Agent) GetSegment(ctx context.Context, backupID string, n int) ([]byte, error) {
	path := commandPath(agentpoll.PathSegment, backupID)
	t := &transfer{name: "get segment", method: http.MethodGet, path: numbered(path, n)}
	err := a.carry(ctx, t)
	return t.got, err
}

// PutLogChunk sends the next part of a published log, as PutSegment does.
func (a *Agent) PutLogChunk(ctx context.Context, log string, n int, body []byte) error {
	path := commandPath(agentpoll.PathLogChunk, log)
	return a.carry(ctx, &transfer{name: "put log chunk", method: http.MethodPut, path: numbered(path, n), body: body})
}

// DeleteLog takes back everything that was published of a log.
func (a *Agent) DeleteLog(ctx context.Context, log string) error {
	path, _, _ := strings.Cut(commandPath(agentpoll.PathLogChunk, log), "/chunks/")
	return a.carry(ctx, &transfer{name: "delete log", method: http.MethodDelete, path: path})
}

func numbered(path string, n int) string { return strings.Replace(path, "{n}", strconv.Itoa(n), 1) }

// carry makes the call until it is answered for good.
func (a *Agent) carry(ctx context.Context, t *transfer) error {
	a.mu.Lock()
	s := a.session
	a.mu.Unlock()
	if s == nil {
		return ErrNotRunning
	}
	if len(t.body) > agentpoll.MaxSegment {
		return agentpoll.Errorf(agentpoll.Invalid, "%d bytes are more than the %d of a segment", len(t.body), agentpoll.MaxSegment)
	}
	t.client = s.client
	var retry backoff
	var last error
	for {
		err := t.try(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil && last != nil:
			return fmt.Errorf("%w; before that: %w", context.Cause(ctx), last)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		last = err
		if final := refusal(err); final != nil {
			return final
		}
		wait := retry.next(err)
		a.log.Warn("a transfer will be tried again", "call", t.name, "path", t.path, "retry_in", wait, "err", err)
		sleep(ctx, wait)
	}
}

// refusals says what the answers mean that will stay the same however often the call is repeated. 501 is that of a gateway
// without a place for backups.
var refusals = map[int]agentpoll.ErrorKind{
	http.StatusBadRequest:            agentpoll.Invalid,
	http.StatusForbidden:             agentpoll.Conflict,
	http.StatusNotFound:              agentpoll.NotFound,
	http.StatusMethodNotAllowed:      agentpoll.Unsupported,
	http.StatusConflict:              agentpoll.Conflict,
	http.StatusGone:                  agentpoll.Conflict,
	http.StatusLengthRequired:        agentpoll.Invalid,
	http.StatusRequestEntityTooLarge: agentpoll.Invalid,
	http.StatusUnprocessableEntity:   agentpoll.Invalid,
	http.StatusFailedDependency:      agentpoll.Unavailable,
	http.StatusNotImplemented:        agentpoll.Unsupported,
	http.StatusInsufficientStorage:   agentpoll.Full,
}

// refusal makes the final error of an answer, or nil when the call is worth another try. It tells a tenant the reason, and operators
// who said so.
func refusal(err error) error {
	if final, ok := errors.AsType[*agentpoll.Error](err); ok {
		return final
	}
	answer, _ := errors.AsType[*callError](err)
	if answer == nil {
		return nil
	}
	kind, ok := refusals[answer.status]
	if !ok {
		return nil
	}
	return &agentpoll.Error{Kind: kind, Message: cmp.Or(answer.err.Error(), answer.Error()), Detail: answer.Error()}
}

// sum is the value of HeaderSHA256.
func sum(body []byte) string {
	s := sha256.Sum256(body)
	return hex.EncodeToString(s[:])
}

// allowed reports whether a gateway may send the agent there: to https, and to where plain http may be spoken anyway.
func (c Config) allowed(u *url.URL) bool {
	return u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && c.AllowHTTP)
}
