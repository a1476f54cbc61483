package segments

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest"
	"github.com/cofferdb/coffer/agentpoll/server"
	"github.com/cofferdb/coffer/datastores/guest/stream"
)

// noMethods is the handler of an agent that is asked nothing.
type noMethods struct{}

func (noMethods) Method(string) (agent.Traits, bool) { return agent.Traits{}, false }
func (noMethods) Run(context.Context, agent.Command) (json.RawMessage, error) {
	return nil, nil
}

// ofBackup is the stream's sight of an agent.
type ofBackup struct {
	*agent.Agent
	id string
}

func (o ofBackup) Put(ctx context.Context, n int, body []byte) error {
	return o.PutSegment(ctx, o.id, n, body)
}
func (o ofBackup) Get(ctx context.Context, n int) ([]byte, error) { return o.GetSegment(ctx, o.id, n) }

// atDepot runs an agent at a gateway of agent server and depot, with polls and segments on the same connections.
func atDepot(t *testing.T, d *depot) *agent.Agent {
	t.Helper()
	backend := agentpolltest.NewBackend()
	polls, err := server.New(server.Config{Backend: backend, Epoch: backend.Epoch()})
	if err != nil {
		t.Fatal(err)
	}
	watch := backend.Feed(polls.Apply)
	d.Authenticate = polls.Authenticate
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handler := polls.Handler()
	srv := server.HTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !d.Serve(w, r) {
			handler.ServeHTTP(w, r)
		}
	}))
	var running sync.WaitGroup
	running.Go(func() { _ = srv.Serve(polls.Listener(l)) })
	token, _ := backend.Token(nil)
	enrolled := make(chan struct{})
	a, err := agent.New(agent.Config{
		Gateways: []string{"http://" + l.Addr().String()}, AllowHTTP: true, Dir: t.TempDir(), Kind: agentpoll.Guest, Token: token,
		Handler: noMethods{}, OnEnrolled: func(agentpoll.EnrollReply) error { close(enrolled); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	running.Go(func() {
		if err := a.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		polls.Close()
		_ = srv.Close()
		watch.Close()
		running.Wait()
	})
	<-enrolled
	return a
}

// A backup from the stream through an agent and a gateway to the disk, and back; then a bit of it turns.
func TestBackupRestsAndReturns(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d := newDepot(t)
	to := ofBackup{atDepot(t, d), "b1"}
	data, key := randomBytes(20<<20), randomBytes(32)
	ref, err := stream.Write(ctx, to, "b1", key, func(w io.Writer) error { _, err := w.Write(data); return err })
	if err != nil || ref.Segments != 3 {
		t.Fatalf("%+v, %v", ref, err)
	}
	read := func() ([]byte, error) {
		r, err := stream.Open(ctx, to, ref, key)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(r)
	}
	if got, err := read(); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back: %v", len(got), err)
	}
	files, err := filepath.Glob(filepath.Join(d.dir, "*/p/b1/00000002"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	stored, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	stored[1_000_000] ^= 1
	if err := os.WriteFile(files[0], stored, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := read(); err == nil || !strings.Contains(err.Error(), "backup b1: segment 2 is damaged") || !bytes.HasPrefix(data, got) {
		t.Errorf("%d bytes came back: %v", len(got), err)
	}
	if _, err := stream.Write(ctx, ofBackup{to.Agent, "done"}, "done", key, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}); err == nil || !strings.Contains(err.Error(), ErrNotNow.Error()) {
		t.Errorf("a backup that is finished: %v", err)
	}
}
