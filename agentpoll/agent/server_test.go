package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest"
)

// counter counts how often each command ran.
type counter struct {
	mu   sync.Mutex
	runs map[string]int
}

func (c *counter) Method(name string) (agent.Traits, bool) {
	return agent.Traits{Long: name == "backup", Reads: name == "list"}, true
}

func (c *counter) Run(ctx context.Context, cmd agent.Command) (json.RawMessage, error) {
	c.mu.Lock()
	c.runs[cmd.ID]++
	c.mu.Unlock()
	if cmd.Method == "backup" {
		cmd.Progress(agentpoll.Progress{Done: 1})
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return cmd.Args, nil
}

// run starts an agent at a real server and returns what stops it.
func run(t *testing.T, cfg agent.Config) (*agent.Agent, func()) {
	t.Helper()
	a, err := agent.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return a, stop
}

// The agent against the real server: enrolment, both lanes, cancel, faults, rotation, restart, a restored store.
func TestWithTheRealServer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := agentpolltest.NewServer(t)
	token, id := s.Token(json.RawMessage(`{"port":6379}`))
	ran := &counter{runs: map[string]int{}}
	cfg := agent.Config{
		Gateways: []string{s.URL}, AllowHTTP: true, Dir: t.TempDir(), Kind: agentpoll.Guest, Token: token, Handler: ran,
		Status: func(context.Context) json.RawMessage { return json.RawMessage(`"up"`) },
	}
	a, stop := run(t, cfg)
	result := func(command string) agentpoll.Result {
		t.Helper()
		r, err := s.WaitResult(ctx, command)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}

	if _, err := s.WaitStatuses(ctx, id, 1); err != nil {
		t.Fatal(err)
	}
	backup := s.Enqueue(id, agentpoll.Command{Method: "backup"})
	create := s.Enqueue(id, agentpoll.Command{Method: "create", Args: json.RawMessage(`1`)})
	list := s.Enqueue(id, agentpoll.Command{Method: "list", Args: json.RawMessage(`2`)})
	if c, l := result(create), result(list); string(c.Value) != "1" || string(l.Value) != "2" {
		t.Errorf("create: %+v, list: %+v", c, l)
	}
	if _, err := s.WaitProgress(ctx, backup, 1); err != nil {
		t.Error(err)
	}
	s.Cancel(backup)

	if err := a.Rotate(ctx); err != nil {
		t.Errorf("Rotate: %v", err)
	}
	s.Fail(1, 503)
	s.Cut()
	after := s.Enqueue(id, agentpoll.Command{Method: "create"})
	result(after)

	stop()
	s.Break(errors.New("etcd is away"))
	offline := s.Enqueue(id, agentpoll.Command{Method: "create"})
	run(t, cfg)
	s.Break(nil)
	result(offline)
	ran.mu.Lock()
	defer ran.mu.Unlock()
	for _, command := range []string{backup, create, list, after, offline} {
		if ran.runs[command] != 1 {
			t.Errorf("%s ran %d times", command, ran.runs[command])
		}
	}
}
