package etcdtest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Put does what `etcdctl put` does, and returns the revision.
func (s *Server) Put(t testing.TB, key, value string) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	resp, err := s.client.Put(ctx, key, value)
	if err != nil {
		t.Fatalf("cannot put %s: %v", key, err)
	}
	return resp.Header.Revision
}

// Delete does what `etcdctl del` does, and returns the revision.
func (s *Server) Delete(t testing.TB, key string) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	resp, err := s.client.Delete(ctx, key)
	if err != nil {
		t.Fatalf("cannot delete %s: %v", key, err)
	}
	return resp.Header.Revision
}

// All returns every key under a prefix with its value.
func (s *Server) All(t testing.TB, prefix string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	resp, err := s.client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatalf("cannot read %s: %v", prefix, err)
	}
	all := make(map[string]string, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		all[string(kv.Key)] = string(kv.Value)
	}
	return all
}

// Leases counts the leases that live.
func (s *Server) Leases(t testing.TB) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	resp, err := s.client.Leases(ctx)
	if err != nil {
		t.Fatalf("cannot list the leases: %v", err)
	}
	return len(resp.Leases)
}

// RevokeLeases ends all of them, as if etcd had not been reached for longer than they last.
func (s *Server) RevokeLeases(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	resp, err := s.client.Leases(ctx)
	if err != nil {
		t.Fatalf("cannot list the leases: %v", err)
	}
	for _, l := range resp.Leases {
		if _, err := s.client.Revoke(ctx, l.ID); err != nil {
			t.Fatalf("cannot revoke a lease: %v", err)
		}
	}
}

// Compact makes etcd forget what was before revision.
func (s *Server) Compact(t testing.TB, revision int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := s.client.Compact(ctx, revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatalf("cannot compact to %d: %v", revision, err)
	}
}

// Counters are etcd's own: how often it wrote and read.
type Counters struct{ Puts, Ranges, Deletes, Txns float64 }

// Counters reads etcd's metrics. They are the process's: tests that compare them must not run beside others with an etcd.
func (s *Server) Counters(t testing.TB) Counters {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.socket)
	}}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("cannot read etcd's metrics: %v", err)
	}
	defer resp.Body.Close()
	var c Counters
	wanted := map[string]*float64{
		"etcd_mvcc_put_total": &c.Puts, "etcd_mvcc_range_total": &c.Ranges,
		"etcd_mvcc_delete_total": &c.Deletes, "etcd_mvcc_txn_total": &c.Txns,
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if into := wanted[name]; into != nil {
			if _, err := fmt.Sscan(value, into); err != nil {
				t.Fatalf("etcd's metric %s is %q", name, value)
			}
			delete(wanted, name)
		}
	}
	if len(wanted) > 0 {
		t.Fatalf("etcd has no metrics %v", wanted)
	}
	return c
}
