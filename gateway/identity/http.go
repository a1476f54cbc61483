package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
)

const maxBody = 64 << 10 // bytes of a request body

// access is who may ask for a route.
type access int

const (
	open  access = iota // everybody
	known               // everybody with a good token; the handler may ask for more
	admin
)

type route struct {
	pattern string // as of http.ServeMux, below Path
	access  access
	handle  func(*Service, *request) (reply, error)
}

// routes is everything that the service answers. A GET route answers HEAD too.
func routes() []route {
	return []route{
		{"GET ", open, (*Service).versions},
		{"GET /{$}", open, (*Service).versions},
		{"GET /v3", open, (*Service).version},
		{"GET /v3/{$}", open, (*Service).version},

		{"POST /v3/auth/tokens", open, (*Service).logIn},
		{"GET /v3/auth/tokens", known, (*Service).showToken},
		{"DELETE /v3/auth/tokens", known, (*Service).revokeToken},
		{"GET /v3/auth/catalog", known, (*Service).showCatalog},
		{"GET /v3/auth/projects", known, (*Service).listOwnProjects},

		{"GET /v3/users", admin, (*Service).listUsers},
		{"POST /v3/users", admin, (*Service).createUser},
		{"GET /v3/users/{user}", known, (*Service).showUser},
		{"PATCH /v3/users/{user}", admin, (*Service).updateUser},
		{"DELETE /v3/users/{user}", admin, (*Service).deleteUser},
		{"POST /v3/users/{user}/password", known, (*Service).changePassword},
		{"GET /v3/users/{user}/projects", known, (*Service).listUserProjects},

		{"GET /v3/projects", known, (*Service).listProjects},
		{"POST /v3/projects", admin, (*Service).createProject},
		{"GET /v3/projects/{project}", known, (*Service).showProject},
		{"PATCH /v3/projects/{project}", admin, (*Service).updateProject},
		{"DELETE /v3/projects/{project}", admin, (*Service).deleteProject},

		{"GET /v3/roles", known, (*Service).listRoles},
		{"GET /v3/roles/{role}", known, (*Service).showRole},
		{"GET /v3/role_assignments", known, (*Service).listAssignments},
		{"GET /v3/projects/{project}/users/{user}/roles", admin, (*Service).listGrants},
		{"GET /v3/projects/{project}/users/{user}/roles/{role}", admin, (*Service).checkGrant},
		{"PUT /v3/projects/{project}/users/{user}/roles/{role}", admin, (*Service).grantRole},
		{"DELETE /v3/projects/{project}/users/{user}/roles/{role}", admin, (*Service).withdrawRole},

		{"GET /v3/domains", known, (*Service).listDomains},
		{"GET /v3/domains/{domain}", known, (*Service).showDomain},
	}
}

// Handler serves the identity API for paths that begin with [Path].
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range routes() {
		method, path, _ := strings.Cut(rt.pattern, " ")
		mux.Handle(method+" "+Path+path, s.serve(rt))
	}
	mux.Handle("/", s.serve(route{access: open, handle: func(*Service, *request) (reply, error) {
		return reply{}, faultf(http.StatusNotFound, "The resource could not be found.")
	}}))
	return mux
}

// request is one request, admitted.
type request struct {
	*http.Request
	who   grant  // what its token stands for; zero on open routes
	token string // X-Auth-Token
	base  string // such as "https://coffer.example:8779"
	query url.Values
}

func (r *request) url(path string) string { return r.base + Path + path }

// reply is what a handler answers. Body nil: none.
type reply struct {
	status int
	token  string // X-Subject-Token
	body   any
}

func ok(body any) (reply, error)      { return reply{status: http.StatusOK, body: body}, nil }
func created(body any) (reply, error) { return reply{status: http.StatusCreated, body: body}, nil }
func done() (reply, error)            { return reply{status: http.StatusNoContent}, nil }

// decode reads a request's body; 400 when it is no such JSON. Keys that T does not have are ignored, as in Keystone.
func decode[T any](r *request) (T, error) {
	var v T
	err := json.NewDecoder(r.Body).Decode(&v)
	var tooLarge *http.MaxBytesError
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil:
		return v, nil
	case errors.As(err, &tooLarge):
		return v, over("identity_body", http.StatusRequestEntityTooLarge, "The request body has more than %d bytes.", maxBody)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return v, over("body_seconds", http.StatusRequestTimeout, "The request body did not come to its end in time.")
	case errors.As(err, &wrongType):
		return v, faultf(http.StatusBadRequest, "%s: want a %s, not a %s.", wrongType.Field, wrongType.Type, wrongType.Value)
	}
	return v, faultf(http.StatusBadRequest, "The request body is not valid JSON.")
}

// fault is an error that a client may read.
type fault struct {
	code       int
	message    string
	retryAfter time.Duration // 0: not said
	limit      string        // that was exceeded; "": none
}

func (f *fault) Error() string { return f.message }

func faultf(code int, format string, args ...any) *fault {
	return &fault{code: code, message: fmt.Sprintf(format, args...)}
}

// over is the fault of what exceeds a limit.
func over(limit string, code int, format string, args ...any) *fault {
	f := faultf(code, format, args...)
	f.limit = limit
	return f
}

func isMissing(err error) bool {
	var f *fault
	return errors.As(err, &f) && f.code == http.StatusNotFound
}

// faultOf finds what a client may be told of err.
func faultOf(err error) *fault {
	var own *fault
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, ErrUnauthorized):
		return faultf(http.StatusUnauthorized, "The request you have made requires authentication.")
	case etcdschema.Full(err):
		return &fault{code: http.StatusInsufficientStorage, message: etcdschema.TakesNoWrites, retryAfter: time.Minute}
	case errors.Is(err, errBusy), errors.Is(err, etcdschema.ErrConflict), errors.Is(err, context.DeadlineExceeded):
		return &fault{code: http.StatusServiceUnavailable, message: "The service is busy, or its store is out of reach. Try again.", retryAfter: time.Second}
	}
	return faultf(http.StatusInternalServerError, "An unexpected error prevented the server from fulfilling your request.")
}

func (s *Service) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.Body = http.MaxBytesReader(w, req.Body, maxBody)
		r := &request{
			Request: req, token: req.Header.Get("X-Auth-Token"), base: s.cfg.PublicURL(req), query: req.URL.Query(),
		}
		rep, err := s.answer(rt, r)
		if err != nil {
			s.refuse(w, r, rt, err)
			return
		}
		if rep.token != "" {
			w.Header().Set("X-Subject-Token", rep.token)
		}
		s.write(w, rep.status, rep.body)
	})
}

func (s *Service) answer(rt route, r *request) (reply, error) {
	if r.query.Has("dry_run") && r.Method != http.MethodGet && r.Method != http.MethodHead {
		return reply{}, faultf(http.StatusNotImplemented, "The identity service has no dry_run. Nothing was done.")
	}
	if rt.access != open {
		g, err := s.resolve(r.Context(), r.token)
		if err != nil {
			return reply{}, err
		}
		if rt.access == admin && !g.Admin() {
			return reply{}, errForbidden
		}
		r.who = g
	}
	return rt.handle(s, r)
}

var errForbidden = faultf(http.StatusForbidden, "You are not authorized to perform the requested action; it needs the role %s.", Admin)

// ownOrAdmin refuses those who ask for another user than themselves, whether there is one or not.
func (r *request) ownOrAdmin(user string) error {
	if r.who.UserID == user || r.who.Admin() {
		return nil
	}
	return errForbidden
}

func (s *Service) refuse(w http.ResponseWriter, r *request, rt route, err error) {
	f := faultOf(err)
	if f.code == http.StatusInternalServerError && r.Context().Err() == nil {
		s.log.Error("identity request failed", "route", rt.pattern, "err", err)
	}
	if f.limit != "" {
		s.cfg.Refused(f.limit)
	}
	if f.code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf("Keystone uri=%q", r.url("/v3")))
	}
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.retryAfter.Seconds()))))
	}
	s.write(w, f.code, map[string]any{"error": map[string]any{
		"code": f.code, "title": http.StatusText(f.code), "message": f.message,
	}})
}

func (s *Service) write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Vary", "X-Auth-Token")
	w.Header().Set("Cache-Control", "no-store")
	if body == nil {
		w.WriteHeader(status)
		return
	}
	text, err := json.Marshal(body)
	if err != nil { // a bug: bodies are made of maps and strings
		s.log.Error("cannot encode an answer", "err", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	if _, err := w.Write(text); err != nil {
		s.log.Debug("cannot answer", "err", err)
	}
}
