package agent_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest"
)

const backup = "0198c0de-0000-7000-8000-00000000beef"

// enrolled starts an agent at a gateway, and returns its id.
func enrolled(t *testing.T, s *agentpolltest.Server, gateways ...string) (*agent.Agent, string) {
	t.Helper()
	token, id := s.Token(nil)
	ready := make(chan struct{})
	a, _ := run(t, agent.Config{
		Gateways: append(gateways, s.URL), AllowHTTP: true, Dir: t.TempDir(), Kind: agentpoll.Guest, Token: token,
		Handler:    &counter{runs: map[string]int{}},
		OnEnrolled: func(agentpoll.EnrollReply) error { close(ready); return nil },
	})
	<-ready
	return a, id
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

// Whatever happens on the way, what arrives is what was sent.
func TestSegmentsTravel(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := agentpolltest.NewServer(t)
	a, id := enrolled(t, s)
	there := func(name string, n int, body []byte, fault func()) {
		t.Helper()
		fault()
		if err := a.PutSegment(ctx, backup, n, body); err != nil {
			t.Errorf("%s: put %d: %v", name, n, err)
		}
		if got := s.Segments(backup)[n]; !bytes.Equal(got, body) {
			t.Errorf("%s: %d bytes arrived, want %d", name, len(got), len(body))
		}
		fault()
		if got, err := a.GetSegment(ctx, backup, n); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: get %d: %d bytes, %v", name, n, len(got), err)
		}
	}
	there("empty", 0, nil, func() {})
	there("large", 1, noise(agentpoll.MaxSegment), func() {})
	for name, fault := range map[string]func(){
		"503":        func() { s.FailSegments(1, 503) },
		"cut":        func() { s.FailSegments(1, -1) },
		"all cut":    s.Cut,
		"no gateway": s.Restart,
	} {
		there(name, 2, noise(8<<20), fault)
	}
	for n := range 3 {
		if err := a.PutLogChunk(ctx, "general", n, []byte{byte(n)}); err != nil {
			t.Error(err)
		}
	}
	if got := slices.Sorted(maps.Keys(s.LogChunks(id, "general"))); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("chunks %v were published", got)
	}
	if err := a.DeleteLog(ctx, "general"); err != nil || len(s.LogChunks(id, "general")) > 0 {
		t.Errorf("the log is still there: %v", err)
	}
}

func TestSegmentsRefused(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := agentpolltest.NewServer(t)
	a, _ := enrolled(t, s)
	want := func(name string, err error, kind agentpoll.ErrorKind, says string) {
		t.Helper()
		e, ok := errors.AsType[*agentpoll.Error](err)
		if !ok || e.Kind != kind || !strings.Contains(e.Message, says) {
			t.Errorf("%s: %v; want %s and %q", name, err, kind, says)
		}
	}
	_, err := a.GetSegment(ctx, backup, 1)
	want("no segment", err, agentpoll.NotFound, "there is no such segment")
	s.CloseBackup(backup)
	want("closed", a.PutSegment(ctx, backup, 1, noise(8<<20)), agentpoll.Conflict, "neither being made")
	for status, kind := range map[int]agentpoll.ErrorKind{403: agentpoll.Conflict, 422: agentpoll.Invalid, 413: agentpoll.Invalid, 424: agentpoll.Unavailable, 501: agentpoll.Unsupported, 507: agentpoll.Full} {
		s.FailSegments(1, status)
		want("refused", a.PutSegment(ctx, backup, 1, noise(100)), kind, http.StatusText(status))
	}
	want("too large", a.PutSegment(ctx, backup, 1, make([]byte, agentpoll.MaxSegment+1)), agentpoll.Invalid, "67108865")
}

func TestSegmentsOfAnAgentThatDoesNotRun(t *testing.T) {
	a, err := agent.New(agent.Config{Gateways: []string{"http://127.0.0.1:1"}, AllowHTTP: true, Dir: t.TempDir(), Kind: agentpoll.Guest, Handler: &counter{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.PutSegment(t.Context(), backup, 1, nil); !errors.Is(err, agent.ErrNotRunning) {
		t.Error(err)
	}
}

// The gateway that is tried first is nobody.
func TestSegmentsMoveToTheNextGateway(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, gone := agentpolltest.NewServer(t), agentpolltest.NewServer(t)
	gone.Stop()
	for range 4 {
		a, _ := enrolled(t, s, gone.URL)
		if err := a.PutSegment(ctx, backup, 1, noise(1000)); err != nil {
			t.Fatal(err)
		}
	}
}
