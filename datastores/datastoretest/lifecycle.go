package datastoretest

import (
	"context"
	"sync"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// testPrepareCutShort ends prepare at each of its steps in turn, as a killed guest does, and has a new manager do all
// of it again.
func testPrepareCutShort(t *testing.T, h Harness) {
	for cut := 1; ; cut++ {
		s := &server{Harness: h, env: h.NewEnv(t)}
		s.manager = s.open(t)
		ctx, cancel := context.WithTimeout(t.Context(), 2*h.patience())
		steps, name := 0, ""
		answer := s.manager.Prepare(ctx, datastores.PrepareRequest{Progress: func(step string) {
			if steps++; steps == cut {
				name = step
				cancel()
			}
		}})
		cancel()
		s.manager = s.open(t)
		if err := s.prepare(t, func(string) {}); err != nil {
			t.Errorf("prepare, after it was cut at step %d, %q, and answered %v: %v", cut, name, answer, err)
		} else {
			s.wantStatus(t, datastores.StatusHealthy)
		}
		s.stop(t)
		if steps < cut {
			return // there was no such step any more
		}
	}
}

func testPrepareAgain(t *testing.T, s *server) {
	s.manager = s.open(t)
	s.must(t, "prepare again", s.prepare(t, func(string) {}))
	s.wantStatus(t, datastores.StatusHealthy)
}

// testClosed tries the accounts that a careless installation leaves open.
func testClosed(t *testing.T, s *server) {
	for _, user := range []string{"", "-", "root", "admin", "default", "os_admin"} {
		for _, password := range []string{"", "root", "password"} {
			s.keepsOut(t, user, password, "")
		}
	}
}

func testStartAndStop(t *testing.T, s *server) {
	s.visitAndWrite(t)
	before := s.wantStatus(t, datastores.StatusHealthy)
	if before.Since.IsZero() {
		t.Error("a running server does not say since when")
	}
	s.start(t)
	if again := s.wantStatus(t, datastores.StatusHealthy); !again.Since.Equal(before.Since) {
		t.Error("starting a running server has restarted it")
	}
	for range 2 {
		s.stop(t)
		st := s.wantStatus(t, datastores.StatusShutdown)
		if !st.Since.IsZero() {
			t.Errorf("a stopped server runs since %v", st.Since)
		}
	}
	s.start(t)
	if after := s.wantStatus(t, datastores.StatusHealthy); !after.Since.After(before.Since) {
		t.Errorf("started again at %v, first at %v", after.Since, before.Since)
	}
	s.wantKept(t)
}

func testOutlivesManager(t *testing.T, s *server) {
	before := s.wantStatus(t, datastores.StatusHealthy)
	s.manager = s.open(t)
	if st := s.wantStatus(t, datastores.StatusHealthy); !st.Since.Equal(before.Since) {
		t.Errorf("a new manager says since %v, the old one said %v", st.Since, before.Since)
	}
	s.stop(t)
	s.wantStatus(t, datastores.StatusShutdown)
	s.start(t)
}

func testStatusBesideAnything(t *testing.T, s *server) {
	done := make(chan struct{})
	var askers sync.WaitGroup
	for range 4 {
		askers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				switch st := s.status(t); st.Service {
				case datastores.StatusHealthy, datastores.StatusBlocked, datastores.StatusShutdown:
				default:
					t.Errorf("status = %+v while the server is stopped and started", st)
					return
				}
			}
		})
	}
	s.stop(t)
	s.start(t)
	close(done)
	askers.Wait()
	s.wantStatus(t, datastores.StatusHealthy)
}

// testCancelled calls with a context that is over already: the call must return, and the server be usable after it.
func testCancelled(t *testing.T, s *server) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = s.manager.Stop(ctx)
	_ = s.manager.Start(ctx)
	s.manager.Status(ctx)
	s.start(t)
	s.wantStatus(t, datastores.StatusHealthy)
}
