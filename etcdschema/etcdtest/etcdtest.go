// Package etcdtest runs a real etcd for a test: in process, empty, on a unix socket, gone with the test.
package etcdtest

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/embedded"
)

// New is the short form: a store on an etcd of its own.
func New(t testing.TB) *etcdschema.Store {
	t.Helper()
	return Start(t).Store(t)
}

// Server is an etcd that a test may stop, start, compact, and set back to an older state.
type Server struct {
	dir    string
	socket string
	etcd   *embedded.Server
	client *clientv3.Client
}

const patience = 10 * time.Second

// Start runs an empty etcd until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	short, err := os.MkdirTemp("", "etcd") // the path of a socket has few bytes, and a test's name may have many
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	s := &Server{dir: t.TempDir(), socket: filepath.Join(short, "sock")}
	s.Start(t)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Endpoint()}, DialTimeout: patience, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	s.client = client
	t.Cleanup(func() {
		_ = client.Close()
		s.Stop(t)
	})
	return s
}

// Endpoint is where clients connect. It stays the same over Stop and Start.
func (s *Server) Endpoint() string { return s.etcd.Endpoint() }

// Store opens a store on the server until the test ends.
func (s *Server) Store(t testing.TB) *etcdschema.Store {
	t.Helper()
	return Open(t, s.Endpoint())
}

// Open opens a store on any endpoint until the test ends; it logs nothing.
func Open(t testing.TB, endpoint string) *etcdschema.Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	store, err := etcdschema.Open(ctx, etcdschema.Config{Endpoints: []string{endpoint}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// Stop ends the server and keeps its data. It takes seconds while connections are open: cut them first, see [Proxy].
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.etcd.Close(); err != nil {
		t.Errorf("etcd: %v", err)
	}
}

// Start runs a stopped server again.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	etcd, err := embedded.Start(ctx, embedded.Config{
		Dir: s.dir, Socket: s.socket, Throwaway: true, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.etcd = etcd
}

// Saved is the state of an etcd at some time.
type Saved struct{ dir string }

// Save keeps the present state. The server is stopped and started.
func (s *Server) Save(t testing.TB) Saved {
	t.Helper()
	saved := Saved{dir: filepath.Join(t.TempDir(), "saved")}
	s.Stop(t)
	if err := os.CopyFS(saved.dir, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	s.Start(t)
	return saved
}

// Restore sets the server back to a saved state, as an operator does with a snapshot. The server is stopped and started.
func (s *Server) Restore(t testing.TB, saved Saved) {
	t.Helper()
	s.Stop(t)
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(s.dir, os.DirFS(saved.dir)); err != nil {
		t.Fatal(err)
	}
	s.Start(t)
}
