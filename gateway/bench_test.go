package gateway_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/etcdschema/embedded"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// The benchmarks print a table of ratios, measured side by side in one run; `task bench` sets COFFER_BENCH. They are no
// tests of time: nothing fails because a machine is slow.

func bench(t *testing.T) {
	t.Helper()
	if os.Getenv("COFFER_BENCH") == "" {
		t.Skip("a benchmark: set COFFER_BENCH=1")
	}
}

// durable runs an etcd that syncs to disk, as in production.
func durable(t *testing.T) string {
	t.Helper()
	e, err := embedded.Start(t.Context(), embedded.Config{Dir: private(t), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e.Endpoint()
}

// sample holds durations of one thing.
type sample []time.Duration

func (s sample) at(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	slices.Sort(s)
	return s[min(len(s)-1, int(q*float64(len(s))))].Round(time.Microsecond)
}

func (s sample) String() string { return fmt.Sprintf("p50 %s, p99 %s", s.at(0.5), s.at(0.99)) }

// load calls n times, parallel at once, and returns how long each took and all together.
func load(t *testing.T, n, parallel int, call func(worker int) error) (sample, time.Duration) {
	t.Helper()
	var all sample
	var mu sync.Mutex
	var workers sync.WaitGroup
	began := time.Now()
	for w := range parallel {
		workers.Go(func() {
			for range n / parallel {
				at := time.Now()
				if err := call(w); err != nil {
					t.Error(err)
					return
				}
				took := time.Since(at)
				mu.Lock()
				all = append(all, took)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return all, time.Since(began)
}

// get is one request on a connection of the worker's own.
func get(client *http.Client, url, token string) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Auth-Token", token)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	return err
}

// private is a directory that nobody else gets into, as etcd's socket wants it.
func private(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func clients(n int) []*http.Client {
	cs := make([]*http.Client, n)
	for i := range cs {
		cs[i] = &http.Client{Transport: &http.Transport{}}
	}
	return cs
}

// TestBenchDispatch measures REST call -> guest -> REST reply beside the bare path, in turns.
func TestBenchDispatch(t *testing.T) {
	bench(t)
	const guests, rounds = 64, 7
	endpoint := durable(t)
	store := etcdtest.Open(t, endpoint)
	g := gatewaytest.Start(t, store, gatewaytest.Quick)
	ids := gatewaytest.Guests(t, store, guests, g.URL)
	until.Promptly(t, time.Minute, "all parked", func() bool { return g.Polls().Parked == guests })
	bare := newBarePath(t, endpoint, guests)
	for _, at := range []struct{ calls, parallel int }{{200, 1}, {640, 64}} {
		var ours, theirs side
		cs := clients(at.parallel)
		for round := range rounds {
			if round == 1 {
				ours, theirs = side{}, side{} // the first round warms up
			}
			ours.add(t, at.calls, at.parallel, func(w int) error {
				return get(cs[w], g.URL+"/v1.0/"+gatewaytest.Project+gatewaytest.Instance(ids[w])+"/databases", gatewaytest.Member)
			})
			theirs.add(t, at.calls, at.parallel, func(w int) error {
				return get(cs[w], fmt.Sprintf("%s/call/%d", bare.srv.URL, w), "")
			})
		}
		t.Logf("dispatch, %2d at once: ours %s; bare path %s; ratio p50 %.2f, of throughput %.2f, of processor time %.2f", at.parallel, ours, theirs,
			float64(ours.took.at(0.5))/float64(theirs.took.at(0.5)), ours.all.Seconds()/theirs.all.Seconds(), ours.cpu.Seconds()/theirs.cpu.Seconds())
	}
}

// side is what one of two sides took, that are measured in turns.
type side struct {
	took     sample
	all, cpu time.Duration // on the clock, and of this process
}

func (s *side) add(t *testing.T, n, parallel int, call func(worker int) error) {
	t.Helper()
	before := processTime(t)
	took, all := load(t, n, parallel, call)
	s.took, s.all, s.cpu = append(s.took, took...), s.all+all, s.cpu+processTime(t)-before
}

func (s side) String() string {
	return fmt.Sprintf("%s, %s of processor time each", s.took, (s.cpu / time.Duration(len(s.took))).Round(time.Microsecond))
}
