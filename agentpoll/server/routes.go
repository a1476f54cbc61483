package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// routes are the calls of the protocol.
var routes = []struct {
	method, path string
	open         bool // needs no credential
	serve        func(*Server, *call) (any, error)
}{
	{http.MethodPost, agentpoll.PathEnroll, true, with((*Server).enroll)},
	{http.MethodPost, agentpoll.PathPoll, false, with((*Server).poll)},
	{http.MethodPost, agentpoll.PathProgress, false, with((*Server).progress)},
	{http.MethodPost, agentpoll.PathResult, false, with((*Server).result)},
	{http.MethodPost, agentpoll.PathRotate, false, with((*Server).rotate)},
	{http.MethodPost, agentpoll.PathCertificate, false, with((*Server).certificate)},
}

// call is one request.
type call struct {
	w       http.ResponseWriter
	r       *http.Request
	agentID string // "" when the route is open
}

// hijacked is returned by a handler that keeps the connection: nothing is written.
type hijacked struct{}

// Handler serves every call under /agent/v1/.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, route := range routes {
		mux.HandleFunc(route.path, func(w http.ResponseWriter, r *http.Request) {
			c := &call{w: w, r: r}
			if r.ContentLength != 0 { // net/http reads what is left of a body that is refused, and must not wait for it
				_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // a recorder in a test has none
			}
			err := s.admit(c, route.method, route.open)
			if err == nil {
				err = c.reply(route.serve(s, c))
			}
			if err != nil {
				s.refuse(c, err)
			}
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.refuse(&call{w: w, r: r}, errNoCall) })
	return mux
}

// admit checks the method and who calls, before anything of the body is read.
func (s *Server) admit(c *call, method string, open bool) (err error) {
	switch {
	case c.r.Method != method:
		c.w.Header().Set("Allow", method)
		return errMethod
	case !open:
		if c.agentID, err = s.Authenticate(c.r); err != nil && c.r.Context().Err() == nil {
			s.presence.failed(err)
		}
		return err
	}
	return overLimit("enrol", s.enrolments.Take(s.config.RemoteIP(c.r), 1)) // only enroll is open
}

// with decodes the body for a handler. It is read to its end, so that nothing of it is left on a hijacked connection.
func with[T any](serve func(*Server, *call, T) (any, error)) func(*Server, *call) (any, error) {
	return func(s *Server, c *call) (any, error) {
		var v T
		size, err := c.decode(&v)
		if err == nil && c.agentID != "" {
			err = overLimit("agent_bytes", s.spent.Take(c.agentID, float64(callBytes+size)))
		}
		if err != nil {
			return nil, err
		}
		return serve(s, c, v)
	}
}

// decode reads the body into v, and returns how many bytes it had.
func (c *call) decode(v any) (size int, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, agentpoll.MaxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return 0, errTooLarge
	}
	if err != nil {
		return 0, errSlowBody // the deadline stays, or net/http would wait for the rest without one
	}
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Time{})
	if err := json.Unmarshal(body, v); err != nil {
		return 0, agentpoll.Errorf(agentpoll.Invalid, "the body is not what this call takes: %v", err)
	}
	return len(body), nil
}

// reply writes what a handler returned: nil is 204. It returns the handler's error.
func (c *call) reply(v any, err error) error {
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case hijacked:
		return nil
	case answer:
		return v.writeTo(c.w)
	case nil:
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return c.write(http.StatusOK, v)
}

func (c *call) write(status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body) // the peer may be gone
	return nil
}

// refuse writes an error.
func (s *Server) refuse(c *call, err error) {
	refusal, message, ours := refuse(err)
	switch {
	case !ours && c.r.Context().Err() != nil: // it failed because the peer is gone
	case !ours:
		s.counters.failed.Add(1)
		s.config.Log.Error("a call of an agent failed", "path", c.r.URL.Path, "agent_id", c.agentID, "err", err)
	case refusal.status == http.StatusTooManyRequests:
		s.counters.overload.Add(1)
		if over, ok := errors.AsType[*tooFast](err); ok {
			s.config.Refused(over.limit)
			refusal.retry = max(refusal.retry, min(int(over.wait.Seconds())+1, maxRetryAfter))
		}
	case refusal.status == http.StatusUnauthorized, refusal.status == http.StatusForbidden:
		s.counters.refused.Add(1)
	}
	if refusal.retry > 0 {
		c.w.Header().Set("Retry-After", refusal.retryAfter())
	}
	if errors.Is(err, errDraining) {
		c.w.Header().Set("Connection", "close") // the next connection goes to another gateway
	}
	_ = c.write(refusal.status, agentpoll.ErrorReply{Error: agentpoll.Error{Kind: refusal.kind, Message: message}})
}

// backend gives a handler a context for calls of the Backend.
func (c *call) backend() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.r.Context(), backendTimeout)
}

func (s *Server) enroll(c *call, req agentpoll.EnrollRequest) (any, error) {
	ctx, cancel := c.backend()
	defer cancel()
	return s.config.Backend.Enroll(ctx, req)
}

func (s *Server) progress(c *call, p agentpoll.Progress) (any, error) {
	if err := overLimit("progress", s.reports.Take(c.agentID+" "+c.r.PathValue("id"), 1)); err != nil {
		return nil, err
	}
	if err := overLimit("agent_bytes", s.spent.Take(c.agentID, progressBytes)); err != nil {
		return nil, err
	}
	ctx, cancel := c.backend()
	defer cancel()
	return nil, s.config.Backend.Progress(ctx, c.agentID, c.r.PathValue("id"), p)
}

func (s *Server) result(c *call, result agentpoll.Result) (any, error) {
	ctx, cancel := c.backend()
	defer cancel()
	return nil, s.config.Backend.Result(ctx, c.agentID, c.r.PathValue("id"), result)
}

func (s *Server) rotate(c *call, req agentpoll.RotateRequest) (any, error) {
	ctx, cancel := c.backend()
	defer cancel()
	return s.config.Backend.Rotate(ctx, c.agentID, req)
}

func (s *Server) certificate(c *call, req agentpoll.CertificateRequest) (any, error) {
	if len(req.CSR) > agentpoll.MaxCSR {
		return nil, agentpoll.Errorf(agentpoll.Invalid, "the certificate request has more than %d bytes", agentpoll.MaxCSR)
	}
	if err := overLimit("certificates", s.signatures.Take(c.agentID, 1)); err != nil {
		return nil, err
	}
	ctx, cancel := c.backend()
	defer cancel()
	return s.config.Backend.Certificate(ctx, c.agentID, req)
}
