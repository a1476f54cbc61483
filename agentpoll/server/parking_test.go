package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/server"
)

// parking is a server that BenchmarkParkedPoll measures.
type parking interface {
	http.Handler
	wake(agentID string)
	parked() int
}

// TestParkingServer is no test but the process that BenchmarkParkedPoll starts: it says its address, then obeys what
// comes by standard input until that ends.
func TestParkingServer(t *testing.T) {
	kind, scheme, ok := strings.Cut(os.Getenv("COFFER_PARKING_SERVER"), " ")
	if !ok {
		t.Skip("runs only as a process of BenchmarkParkedPoll")
	}
	l := listenForParking(t, scheme)
	var p parking
	if kind == "coffer" {
		lot := newCofferParking(t)
		p, l = lot, lot.Listener(l)
	} else {
		p = &blockingParking{waiting: map[string]chan struct{}{}}
	}
	hs := server.HTTPServer(p)
	served := make(chan error, 1)
	go func() { served <- hs.Serve(l) }()
	defer func() { _ = hs.Close(); <-served }()
	fmt.Println(l.Addr())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); fmt.Println("done") {
		verb, arg, _ := strings.Cut(in.Text(), " ")
		n, _ := strconv.Atoi(arg)
		switch {
		case verb == "parked":
			eventually(t, in.Text(), func() bool { return p.parked() == n })
		case arg == "all":
			for i := range parkedPolls {
				p.wake(parkedCredential(i).AgentID)
			}
		default:
			eventually(t, "a poll to wake", func() bool { return p.parked() == parkedPolls })
			p.wake(parkedCredential(n).AgentID)
		}
	}
}

// cofferParking is this package's server, over a Backend that stores nothing.
type cofferParking struct {
	*server.Server
	http.Handler
	revision int64
}

func newCofferParking(t *testing.T) *cofferParking {
	s, err := server.New(server.Config{Backend: anybody{}, Epoch: "e", Hold: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.Apply(server.Changes{Revision: 1, Resync: true})
	return &cofferParking{s, s.Handler(), 1}
}

func (c *cofferParking) parked() int { return c.Stats().Parked }

func (c *cofferParking) wake(agentID string) {
	c.revision += 2
	put := server.CommandChange{AgentID: agentID, ID: "c", Revision: c.revision - 1, Command: &agentpoll.Command{ID: "c"}}
	c.Apply(server.Changes{Revision: c.revision - 1, Commands: []server.CommandChange{put}})
	put.Command, put.Finished, put.Revision = nil, true, c.revision
	c.Apply(server.Changes{Revision: c.revision, Commands: []server.CommandChange{put}})
}

// anybody is a Backend that lets everybody in.
type anybody struct{ server.Backend }

func (anybody) Authenticate(context.Context, agentpoll.Credential) error { return nil }
func (anybody) Sign(string, []agentpoll.Command)                         {}
func (anybody) Presence(context.Context, map[string]bool) error          { return nil }
func (anybody) Pending(context.Context, string) ([]agentpoll.Command, int64, error) {
	return nil, 1 << 40, nil
}

// blockingParking is what one would write with net/http: the handler waits.
type blockingParking struct {
	mu      sync.Mutex
	waiting map[string]chan struct{}
}

func (b *blockingParking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := agentpoll.ParseHeader(r.Header.Get("Authorization"))
	var req agentpoll.PollRequest
	if err == nil {
		err = json.NewDecoder(http.MaxBytesReader(w, r.Body, agentpoll.MaxBody)).Decode(&req)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	woken := make(chan struct{})
	b.mu.Lock()
	b.waiting[c.AgentID] = woken
	b.mu.Unlock()
	select {
	case <-woken:
		_ = json.NewEncoder(w).Encode(agentpoll.PollReply{Commands: []agentpoll.Command{{ID: "c"}}})
	case <-r.Context().Done():
	}
}

func (b *blockingParking) parked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting)
}

func (b *blockingParking) wake(agentID string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.waiting[agentID])
	delete(b.waiting, agentID)
}
