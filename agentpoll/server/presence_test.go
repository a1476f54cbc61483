package server_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest"
	"github.com/cofferdb/coffer/agentpoll/server"
)

// ledger is a Backend that keeps what it was told of presence.
type ledger struct {
	*agentpolltest.Backend
	mu    sync.Mutex
	calls []map[string]bool
	fail  error
}

func (l *ledger) Presence(_ context.Context, changes map[string]bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	l.calls = append(l.calls, changes)
	return nil
}

// take returns and forgets the calls so far.
func (l *ledger) take() []map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := l.calls
	l.calls = nil
	return calls
}

func (l *ledger) setFail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

// presenceTest runs f in a bubble, with a server whose polls are made by handing requests to its handler.
func presenceTest(t *testing.T, f func(t *testing.T, l *ledger, s *server.Server, g *gateway), options ...func(*server.Config)) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{Backend: agentpolltest.NewBackend()}
		config := server.Config{Backend: l, Epoch: l.Epoch(), Hold: 30 * time.Second, Expiry: 60 * time.Second}
		for _, option := range options {
			option(&config)
		}
		s, err := server.New(config)
		if err != nil {
			t.Fatal(err)
		}
		w := l.Feed(s.Apply)
		pipe := agentpolltest.NewPipeListener()
		hs := server.HTTPServer(s.Handler())
		go func() { _ = hs.Serve(s.Listener(pipe)) }()
		transport := &http.Transport{DialContext: pipe.DialContext}
		t.Cleanup(func() {
			_ = hs.Close()
			w.Close()
			s.Close()
			transport.CloseIdleConnections()
		})
		f(t, l, s, &gateway{Server: s, watch: w, url: "http://gateway", client: &http.Client{Transport: transport}})
	})
}

func TestPresenceIsToldInBatches(t *testing.T) {
	presenceTest(t, func(t *testing.T, l *ledger, s *server.Server, g *gateway) {
		want := map[string]bool{}
		for range 250 {
			agent := l.Agent()
			want[agent.AgentID] = true
			g.send(t, agent, agentpoll.PollRequest{})
		}
		time.Sleep(time.Second)
		got := map[string]bool{}
		calls := l.take()
		for _, c := range calls {
			maps.Copy(got, c)
		}
		if !maps.Equal(got, want) || len(calls) > 5 {
			t.Errorf("%d agents told in %d calls", len(got), len(calls))
		}
		time.Sleep(29 * time.Second)
		if calls := l.take(); len(calls) != 0 {
			t.Errorf("%d more calls though nothing changed", len(calls))
		}
		for id := range want {
			if contact, ok := s.LastContact(id); !ok || !s.Holds(id) || time.Since(contact) > 31*time.Second {
				t.Fatalf("last contact %v, %t", contact, ok)
			}
		}
	})
}

func TestAbsenceIsJudgedAfterExpiry(t *testing.T) {
	presenceTest(t, func(t *testing.T, l *ledger, s *server.Server, g *gateway) {
		agent := l.Agent()
		time.Sleep(2 * time.Minute)
		begin := time.Now()
		g.poll(t, agent, agentpoll.PollRequest{})
		left := time.Since(begin)
		l.take()
		time.Sleep(59 * time.Second)
		if calls := l.take(); len(calls) != 0 || !s.Holds(agent.AgentID) {
			t.Fatalf("judged too early: %v", calls)
		}
		time.Sleep(10 * time.Second)
		if calls := l.take(); len(calls) != 1 || !maps.Equal(calls[0], map[string]bool{agent.AgentID: false}) || s.Holds(agent.AgentID) {
			t.Fatalf("after %s: %v", time.Since(begin)-left, calls)
		}
		g.send(t, agent, agentpoll.PollRequest{})
		time.Sleep(time.Second)
		if calls := l.take(); len(calls) != 1 || !calls[0][agent.AgentID] {
			t.Errorf("back again: %v", calls)
		}
	})
}

func TestAbsenceIsNotJudgedAfterOwnOutage(t *testing.T) {
	presenceTest(t, func(t *testing.T, l *ledger, s *server.Server, g *gateway) {
		agent, other := l.Agent(), l.Agent()
		time.Sleep(2 * time.Minute)
		g.poll(t, agent, agentpoll.PollRequest{})
		time.Sleep(50 * time.Second)
		l.take()
		l.Break(errors.New("etcd is away"))
		g.poll(t, other, agentpoll.PollRequest{}) // 503
		l.Break(nil)
		time.Sleep(59 * time.Second)
		if calls := l.take(); len(calls) != 0 {
			t.Fatalf("judged: %v", calls)
		}
		time.Sleep(10 * time.Second)
		if calls := l.take(); len(calls) != 1 {
			t.Errorf("never judged: %v", calls)
		}
	})
}

// TestOnePoisonedCallDoesNotEndJudging: an agent's call that can never be served says nothing about who is absent, whatever its error looks like.
func TestOnePoisonedCallDoesNotEndJudging(t *testing.T) {
	poison := errors.New("this record cannot be read")
	presenceTest(t, func(t *testing.T, l *ledger, s *server.Server, g *gateway) {
		gone, other := l.Agent(), l.Agent()
		time.Sleep(2 * time.Minute)
		g.poll(t, gone, agentpoll.PollRequest{})
		g.poll(t, other, agentpoll.PollRequest{})
		time.Sleep(time.Second)
		l.take()
		l.Break(poison)
		for range 10 { // other comes back again and again
			time.Sleep(10 * time.Second)
			wantError(t, g.poll(t, other, agentpoll.PollRequest{Status: []byte(`{}`)}), 503, "unavailable")
		}
		calls := l.take()
		if len(calls) != 1 || !maps.Equal(calls[0], map[string]bool{gone.AgentID: false}) {
			t.Errorf("told %v, want that %s is absent", calls, gone.AgentID)
		}
	})
}

// TestJudgedAnewAfterAnOutage: who could not be told absent, since the backend was away, has one more expiry to come back.
func TestJudgedAnewAfterAnOutage(t *testing.T) {
	presenceTest(t, func(t *testing.T, l *ledger, s *server.Server, g *gateway) {
		back, gone := l.Agent(), l.Agent()
		time.Sleep(2 * time.Minute)
		g.poll(t, back, agentpoll.PollRequest{})
		g.poll(t, gone, agentpoll.PollRequest{})
		time.Sleep(time.Second)
		l.take()
		l.setFail(errors.New("etcd is away"))
		time.Sleep(70 * time.Second)
		l.setFail(nil)
		time.Sleep(10 * time.Second) // they are judged anew some 20 s after the outage
		if calls := l.take(); len(calls) != 0 || !s.Holds(gone.AgentID) {
			t.Fatalf("told %v right after the outage", calls)
		}
		g.send(t, back, agentpoll.PollRequest{})
		time.Sleep(time.Minute)
		told := map[string]bool{}
		for _, c := range l.take() {
			maps.Copy(told, c)
		}
		if !maps.Equal(told, map[string]bool{back.AgentID: true, gone.AgentID: false}) || s.Holds(gone.AgentID) {
			t.Errorf("told %v", told)
		}
	})
}

func TestPresenceIsToldAgainWhenItFailed(t *testing.T) {
	presenceTest(t, func(t *testing.T, l *ledger, s *server.Server, g *gateway) {
		agent := l.Agent()
		l.setFail(errors.New("etcd is away"))
		g.send(t, agent, agentpoll.PollRequest{})
		time.Sleep(10 * time.Second)
		l.setFail(nil)
		time.Sleep(2 * time.Second)
		if calls := l.take(); len(calls) != 1 || !calls[0][agent.AgentID] {
			t.Errorf("%v", calls)
		}
		s.Reannounce()
		time.Sleep(time.Second)
		if calls := l.take(); len(calls) != 1 || !calls[0][agent.AgentID] {
			t.Errorf("announced again: %v", calls)
		}
	})
}

func TestElsewhere(t *testing.T) {
	presenceTest(t, func(t *testing.T, l *ledger, s *server.Server, g *gateway) {
		agent := l.Agent()
		elsewhere := server.Changes{Revision: l.Revision(), Elsewhere: map[string]string{agent.AgentID: "two"}}
		p := g.send(t, agent, agentpoll.PollRequest{})
		time.Sleep(time.Second)
		l.take()
		s.Apply(elsewhere) // crossed with this poll
		time.Sleep(2 * time.Second)
		if calls := l.take(); len(calls) != 1 || !calls[0][agent.AgentID] || s.Stats().Parked != 1 {
			t.Fatalf("the newer poll is here: %v", calls)
		}
		s.Apply(elsewhere) // the agent has moved on
		if r := p.answer(); r.status != http.StatusNoContent {
			t.Errorf("the stale poll got %d", r.status)
		}
		time.Sleep(3 * time.Minute)
		if calls := l.take(); len(calls) != 0 || s.Holds(agent.AgentID) {
			t.Errorf("not forgotten: %v", calls)
		}
	})
}

// TestBalancedPolls has an agent whose polls a balancer sends here and to another gateway in turn: it is told of once, and
// again only when the other one no longer tells of it.
func TestBalancedPolls(t *testing.T) {
	presenceTest(t, func(t *testing.T, l *ledger, s *server.Server, g *gateway) {
		agent := l.Agent()
		p := g.send(t, agent, agentpoll.PollRequest{})
		time.Sleep(3 * time.Second)
		s.Apply(server.Changes{Revision: l.Revision(), Elsewhere: map[string]string{agent.AgentID: "two"}})
		p.answer()
		l.take()
		for range 5 {
			p = g.send(t, agent, agentpoll.PollRequest{})
			time.Sleep(10 * time.Second)
			if !s.Holds(agent.AgentID) {
				t.Error("its poll is parked here, and it is not held")
			}
			g.send(t, agent, agentpoll.PollRequest{Status: []byte(`{}`)})
			p.answer()
		}
		if calls := l.take(); len(calls) != 0 {
			t.Errorf("told again while another gateway tells of it: %v", calls)
		}
		s.Apply(server.Changes{Revision: l.Revision(), Vacant: []string{agent.AgentID}})
		time.Sleep(time.Second)
		if calls := l.take(); len(calls) != 1 || !calls[0][agent.AgentID] {
			t.Errorf("not told when nobody else does: %v", calls)
		}
		s.Apply(server.Changes{Revision: l.Revision(), Elsewhere: map[string]string{agent.AgentID: "three"}})
		time.Sleep(3 * time.Second)
		g.send(t, agent, agentpoll.PollRequest{})
		s.Apply(server.Changes{Revision: l.Revision(), Left: []string{"two"}})
		time.Sleep(time.Second)
		l.take()
		s.Apply(server.Changes{Revision: l.Revision(), Elsewhere: map[string]string{agent.AgentID: "three"}})
		time.Sleep(time.Second)
		g.send(t, agent, agentpoll.PollRequest{})
		s.Apply(server.Changes{Revision: l.Revision(), Left: []string{"three"}})
		time.Sleep(time.Second)
		if calls := l.take(); len(calls) != 1 || !calls[0][agent.AgentID] {
			t.Errorf("not told when the gateway that told of it has left: %v", calls)
		}
	})
}

func TestDrain(t *testing.T) {
	presenceTest(t, func(t *testing.T, l *ledger, s *server.Server, g *gateway) {
		const n = 200
		ended := make(chan time.Time, n)
		for range n {
			agent := l.Agent()
			p := g.send(t, agent, agentpoll.PollRequest{})
			go func() {
				if r := p.answer(); r.status != http.StatusNoContent || !r.last || r.poll.Cursor.Revision == 0 {
					t.Errorf("%d %v", r.status, r.header)
				}
				ended <- time.Now()
			}()
		}
		synctest.Wait()
		late := l.Agent()
		begin := time.Now()
		drained := make(chan error)
		go func() { drained <- s.Drain(t.Context()) }()
		time.Sleep(time.Second)
		wantError(t, g.poll(t, late, agentpoll.PollRequest{}), 503, "unavailable")
		if err := <-drained; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		close(ended)
		perSecond := map[int]int{}
		for at := range ended {
			perSecond[int(at.Sub(begin).Seconds())]++
		}
		if len(perSecond) != 5 || perSecond[0] > n/4 {
			t.Errorf("answers in each second: %v", perSecond)
		}
		l.take()
		time.Sleep(3 * time.Minute)
		if calls := l.take(); len(calls) != 0 {
			t.Errorf("judged after the drain: %v", calls)
		}
	})
}

func TestDrainThatIsCutShort(t *testing.T) {
	presenceTest(t, func(t *testing.T, l *ledger, s *server.Server, g *gateway) {
		var polls []*pending
		for range 20 {
			polls = append(polls, g.send(t, l.Agent(), agentpoll.PollRequest{}))
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := s.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		s.Close()
		for _, p := range polls {
			if r := p.answer(); r.status != http.StatusNoContent {
				t.Errorf("got %d", r.status)
			}
		}
	})
}
