package server_test

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest"
	"github.com/cofferdb/coffer/agentpoll/server"
	"github.com/google/go-cmp/cmp"
)

func TestPendingIsToldAtOnceAndInOrder(t *testing.T) {
	b := agentpolltest.NewBackend()
	agent, other := b.Agent(), b.Agent()
	want := []string{b.Enqueue(agent.AgentID, agentpoll.Command{}), b.Enqueue(agent.AgentID, agentpoll.Command{})}
	b.Enqueue(other.AgentID, agentpoll.Command{})
	b.Enqueue(agent.AgentID, agentpoll.Command{Deadline: time.Now().Add(-time.Second)})
	g := start(t, b, nil, server.Config{})

	r := g.poll(t, agent, agentpoll.PollRequest{})
	if diff := cmp.Diff(want, ids(r.poll.Commands)); diff != "" {
		t.Fatal(diff)
	}
	if r.poll.Commands[0].NotBefore <= 0 || r.poll.Commands[0].NotBefore >= r.poll.Commands[1].NotBefore {
		t.Errorf("revisions %d, %d do not grow", r.poll.Commands[0].NotBefore, r.poll.Commands[1].NotBefore)
	}
	if r.poll.Hold != 50_000 {
		t.Errorf("hold %d ms", r.poll.Hold)
	}
	reads := b.Calls().Pending
	p := g.park(t, agent, agentpoll.PollRequest{Cursor: r.poll.Cursor})
	if got := b.Calls().Pending; got != reads {
		t.Errorf("%d reads for a poll that was told everything", got-reads)
	}
	p.cancel()
}

func TestParkedPollIsWokenWithoutRead(t *testing.T) {
	b := agentpolltest.NewBackend()
	agent := b.Agent()
	g := start(t, b, nil, server.Config{})
	cursor := agentpoll.Cursor{}
	for range 20 {
		p := g.park(t, agent, agentpoll.PollRequest{Cursor: cursor})
		id := b.Enqueue(agent.AgentID, agentpoll.Command{Method: "restart", Args: []byte(`{"a":1}`)})
		r := p.answer()
		want := agentpoll.Cursor{Epoch: b.Epoch(), Revision: b.Revision()}
		if len(r.poll.Commands) != 1 || r.poll.Commands[0].ID != id || r.poll.Cursor != want || r.poll.Commands[0].NotBefore != want.Revision {
			t.Fatalf("got %+v, want command %s at %v", r.poll, id, want)
		}
		cursor = r.poll.Cursor
	}
	if reads := b.Calls().Pending; reads != 0 {
		t.Errorf("%d reads", reads)
	}
}

// A command that is there before its agent has ever called is signed when the agent polls, whether the watch or a read brings it.
func TestCommandsAreSignedOnTheirWay(t *testing.T) {
	b := agentpolltest.NewBackend()
	for _, late := range []bool{true, false} {
		agent := b.Agent()
		g := start(t, b, nil, server.Config{})
		eventually(t, "the watch has begun", func() bool { return g.Stats().Watched == b.Revision() })
		g.watch.Hold(late)
		b.Enqueue(agent.AgentID, agentpoll.Command{})
		var r reply
		if late {
			p := g.park(t, agent, agentpoll.PollRequest{})
			g.watch.Hold(false)
			r = p.answer()
		} else {
			eventually(t, "the watch has seen it", func() bool { return g.Stats().Watched == b.Revision() })
			r = g.poll(t, agent, agentpoll.PollRequest{})
		}
		if len(r.poll.Commands) != 1 || string(r.poll.Commands[0].MAC) != agentpolltest.Signature {
			t.Errorf("the watch is late %t: the agent is told %+v", late, r.poll.Commands)
		}
	}
}

func TestCursorIsGoodAtAnotherGateway(t *testing.T) {
	b := agentpolltest.NewBackend()
	agent := b.Agent()
	g1, g2 := start(t, b, nil, server.Config{}), start(t, b, nil, server.Config{})
	eventually(t, "both know what is pending", func() bool {
		return g1.Stats().Watched == b.Revision() && g2.Stats().Watched == b.Revision()
	})
	g2.watch.Hold(true)
	p := g1.park(t, agent, agentpoll.PollRequest{})
	first := b.Enqueue(agent.AgentID, agentpoll.Command{})
	told := p.answer().poll.Cursor

	// g2 does not know that revision, and asks once; then it does, though its watch still lags
	g2.park(t, agent, agentpoll.PollRequest{Cursor: told, Running: []string{first}})
	p = g2.park(t, agent, agentpoll.PollRequest{Cursor: told})
	if n := b.Calls().Pending; n != 1 {
		t.Errorf("%d reads, want 1", n)
	}
	g2.watch.Hold(false)
	second := b.Enqueue(agent.AgentID, agentpoll.Command{})
	if diff := cmp.Diff([]string{second}, ids(p.answer().poll.Commands)); diff != "" {
		t.Error(diff)
	}
}

func TestRestoredEtcdMeansEverything(t *testing.T) {
	b := agentpolltest.NewBackend()
	agent := b.Agent()
	for range 10 {
		b.Enqueue(agent.AgentID, agentpoll.Command{})
	}
	g := start(t, b, nil, server.Config{})
	r := g.poll(t, agent, agentpoll.PollRequest{})

	t.Run("same epoch, parked", func(t *testing.T) {
		p := g.park(t, agent, agentpoll.PollRequest{Cursor: r.poll.Cursor})
		b.Restore("epoch-1", false)
		got := p.answer()
		if len(got.poll.Commands) != 10 || got.poll.Cursor.Revision != b.Revision() {
			t.Errorf("%d commands, cursor %v", len(got.poll.Commands), got.poll.Cursor)
		}
	})
	t.Run("same epoch, between polls", func(t *testing.T) {
		eventually(t, "the watch has caught up", func() bool { return g.Stats().Watched == b.Revision() })
		if got := g.poll(t, agent, agentpoll.PollRequest{Cursor: r.poll.Cursor}); len(got.poll.Commands) != 10 {
			t.Errorf("%d commands", len(got.poll.Commands))
		}
	})
	t.Run("new epoch", func(t *testing.T) {
		p := g.park(t, agent, agentpoll.PollRequest{Cursor: agentpoll.Cursor{Epoch: "epoch-1", Revision: b.Revision()}})
		g.SetEpoch("epoch-2")
		told := p.answer()
		if told.status != http.StatusNoContent || told.poll.Cursor.Epoch != "epoch-1" {
			t.Fatalf("%d with %v", told.status, told.poll.Cursor)
		}
		got := g.poll(t, agent, agentpoll.PollRequest{Cursor: told.poll.Cursor})
		if len(got.poll.Commands) != 10 || got.poll.Cursor.Epoch != "epoch-2" {
			t.Errorf("%d commands, cursor %v", len(got.poll.Commands), got.poll.Cursor)
		}
	})
}

func TestCancel(t *testing.T) {
	b := agentpolltest.NewBackend()
	agent := b.Agent()
	g := start(t, b, nil, server.Config{})
	id, done, kept := b.Enqueue(agent.AgentID, agentpoll.Command{}), b.Enqueue(agent.AgentID, agentpoll.Command{}), b.Enqueue(agent.AgentID, agentpoll.Command{})
	running := []string{id, done, kept}
	told := g.poll(t, agent, agentpoll.PollRequest{}).poll.Cursor

	p := g.park(t, agent, agentpoll.PollRequest{Cursor: told, Running: running})
	if r := g.do(t, agent, http.MethodPost, strings.Replace(agentpoll.PathResult, "{id}", done, 1), agentpoll.Result{}); r.status != 204 {
		t.Fatalf("result: %d", r.status)
	}
	b.Cancel(id)
	r := p.answer()
	if diff := cmp.Diff([]string{id}, r.poll.Cancelled); diff != "" {
		t.Error("the parked poll:", diff)
	}
	// the agent takes its time to stop: telling it again at once would be a busy loop
	p = g.park(t, agent, agentpoll.PollRequest{Cursor: r.poll.Cursor, Running: running})
	p.cancel()

	// a gateway that never saw the command tells of its end at once, and not of the end of what it holds
	g2 := start(t, b, nil, server.Config{})
	if diff := cmp.Diff([]string{id}, g2.poll(t, agent, agentpoll.PollRequest{Cursor: told, Running: []string{id, kept}}).poll.Cancelled); diff != "" {
		t.Error("the next poll:", diff)
	}
}

func TestLaggingWatchCancelsNothing(t *testing.T) {
	b := agentpolltest.NewBackend()
	agent := b.Agent()
	g1, g2 := start(t, b, nil, server.Config{}), start(t, b, nil, server.Config{})
	eventually(t, "g2 knows what is pending", func() bool { return g2.Stats().Watched == b.Revision() })
	g2.watch.Hold(true)
	id := b.Enqueue(agent.AgentID, agentpoll.Command{})
	told := g1.poll(t, agent, agentpoll.PollRequest{}).poll.Cursor
	for _, cursor := range []agentpoll.Cursor{told, {}} {
		if cursor == (agentpoll.Cursor{}) {
			// the state was lost, but not the journal
			r := g2.poll(t, agent, agentpoll.PollRequest{Running: []string{id}})
			if len(r.poll.Commands) != 1 || len(r.poll.Cancelled) != 0 {
				t.Errorf("got %+v", r.poll)
			}
			continue
		}
		p := g2.park(t, agent, agentpoll.PollRequest{Cursor: cursor, Running: []string{id}})
		defer p.cancel()
	}
	p := g2.park(t, agent, agentpoll.PollRequest{Cursor: told, Running: []string{id}})
	b.Cancel(id)
	g2.watch.Hold(false)
	if diff := cmp.Diff([]string{id}, p.answer().poll.Cancelled); diff != "" {
		t.Error(diff)
	}
}

func TestNewestPollWins(t *testing.T) {
	b := agentpolltest.NewBackend()
	agent := b.Agent()
	g := start(t, b, nil, server.Config{})
	older := g.park(t, agent, agentpoll.PollRequest{})
	newer := g.park(t, agent, agentpoll.PollRequest{})
	if r := older.answer(); r.status != http.StatusNoContent {
		t.Errorf("the older got %d", r.status)
	}
	b.Enqueue(agent.AgentID, agentpoll.Command{})
	if r := newer.answer(); len(r.poll.Commands) != 1 {
		t.Errorf("the newer got %d", r.status)
	}
}

func TestPollWaitsForTheFirstResync(t *testing.T) {
	b := agentpolltest.NewBackend()
	agent := b.Agent()
	id := b.Enqueue(agent.AgentID, agentpoll.Command{})
	s, err := server.New(server.Config{Backend: b, Epoch: b.Epoch()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	g := serve(t, s)
	p := g.send(t, agent, agentpoll.PollRequest{})
	eventually(t, "the poll has come", func() bool { return s.Stats().Polls == 1 })
	w := b.Feed(s.Apply)
	defer w.Close()
	if diff := cmp.Diff([]string{id}, ids(p.answer().poll.Commands)); diff != "" {
		t.Error(diff)
	}
}

// TestNothingIsLost polls two gateways in turn while commands come, some of them cancelled.
func TestNothingIsLost(t *testing.T) {
	b := agentpolltest.NewBackend()
	agent := b.Agent()
	gs := []*gateway{start(t, b, nil, server.Config{}), start(t, b, nil, server.Config{})}
	const n = 200
	var want []string
	go func() {
		for i := range n {
			b.Enqueue(agent.AgentID, agentpoll.Command{})
			for i%10 == 0 && t.Context().Err() == nil && gs[0].Stats().Parked+gs[1].Stats().Parked == 0 {
				runtime.Gosched()
			}
		}
	}()
	for i := range n {
		want = append(want, agentpolltest.ID(2+i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var got []string
	var cursor agentpoll.Cursor
	for i := 0; len(got) < n; i++ {
		r, err := gs[i%2].try(ctx, agent, http.MethodPost, agentpoll.PathPoll, agentpoll.PollRequest{Cursor: cursor})
		if err != nil {
			t.Fatalf("after %d commands: %v", len(got), err)
		}
		got = append(got, ids(r.poll.Commands)...)
		cursor = r.poll.Cursor
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
