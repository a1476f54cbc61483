package datastoretest

import (
	"cmp"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
)

// server is one server with its manager of the moment. The one that tests share each test leaves prepared and running.
type server struct {
	Harness
	env     datastores.Env
	tls     *ServerTLS
	manager datastores.Manager
	login   Login  // of the tenant whose items these are, when there are any
	root    string // the name of its root, when it is enabled
	hadRoot string // the name of its root, once it was enabled
	next    int    // the number of the next item
	rounds  rounds // of writes of each kind
}

// newServer makes a place and a manager. The server is stopped when owner ends, which may be a test that contains t.
func newServer(t, owner *testing.T, h Harness) *server {
	t.Helper()
	s := &server{Harness: h, env: h.NewEnv(owner)}
	s.tls = SpeakTLS(&s.env)
	s.manager = s.open(t)
	owner.Cleanup(func() { s.stop(owner) })
	return s
}

// prepared returns a new, empty server.
func prepared(t, owner *testing.T, h Harness) *server {
	t.Helper()
	s := newServer(t, owner, h)
	s.must(t, "prepare", s.prepare(t, func(string) {}))
	return s
}

// patience is how long one call may take.
func (h Harness) patience() time.Duration { return cmp.Or(h.Timeout, time.Minute) }

// within is a context for one call.
func (s *server) within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), s.patience())
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until f is content; f says what it is waiting for.
func (s *server) eventually(t *testing.T, f func() (content bool, waiting string)) {
	t.Helper()
	var waiting string
	if !until.Holds(s.patience(), func() (content bool) {
		content, waiting = f()
		return content
	}) {
		t.Fatalf("after %v: %s", s.patience(), waiting)
	}
}

// open makes another manager of the same server, as a new guest does.
func (s *server) open(t *testing.T) datastores.Manager {
	t.Helper()
	m, err := s.Plugin.Open(s.env, s.Options)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return m
}

func (s *server) prepare(t *testing.T, progress func(string)) error {
	return s.prepareWith(t, datastores.PrepareRequest{Progress: progress})
}

func (s *server) prepareWith(t *testing.T, req datastores.PrepareRequest) error {
	ctx, cancel := context.WithTimeout(t.Context(), 2*s.patience())
	defer cancel()
	return s.manager.Prepare(ctx, req)
}

// restart stops and starts the server with a new manager, as a guest does after a resize.
func (s *server) restart(t *testing.T) {
	t.Helper()
	s.manager = s.open(t)
	s.stop(t)
	s.start(t)
}

func (s *server) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), s.patience()) // as for stop
	defer cancel()
	s.must(t, "start", s.manager.Start(ctx))
}

func (s *server) stop(t *testing.T) {
	t.Helper()
	// Not the test's context, which has ended when a cleanup runs.
	ctx, cancel := context.WithTimeout(context.Background(), s.patience())
	defer cancel()
	s.must(t, "stop", s.manager.Stop(ctx))
}

func (s *server) status(t *testing.T) datastores.Status {
	ctx, cancel := context.WithTimeout(t.Context(), s.patience())
	defer cancel()
	return s.manager.Status(ctx)
}

func (s *server) wantStatus(t *testing.T, want datastores.ServiceStatus) datastores.Status {
	t.Helper()
	st := s.status(t)
	if st.Service != want {
		t.Errorf("status = %+v, want %s", st, want)
	}
	return st
}

func (s *server) connect(t *testing.T, user, password, database string) error {
	ctx, cancel := context.WithTimeout(t.Context(), s.patience())
	defer cancel()
	return s.Connect(ctx, s.env.Address, user, password, database)
}

func (s *server) letsIn(t *testing.T, user, password, database string) {
	t.Helper()
	if err := s.connect(t, user, password, database); err != nil {
		t.Errorf("user %q with password %q is not let in to database %q: %v", user, password, database, err)
	}
}

func (s *server) keepsOut(t *testing.T, user, password, database string) {
	t.Helper()
	if err := s.connect(t, user, password, database); err == nil {
		t.Errorf("user %q with password %q is let in to database %q", user, password, database)
	}
}

// said remembers what a call answered whose end does not matter: if the test fails, that is told.
func said(t *testing.T, call string, answer error) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s had answered: %v", call, answer)
		}
	})
}

func (*server) must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// wantKind checks that err is a [datastores.Error] of that kind.
func wantKind(t *testing.T, what string, err error, kind datastores.ErrorKind) {
	t.Helper()
	var e *datastores.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Errorf("%s = %v, want an error of kind %s", what, err, kind)
	}
}
