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
	const guests, rounds = 64, 5
	endpoint := durable(t)
	store := etcdtest.Open(t, endpoint)
	g := gatewaytest.Start(t, store, gatewaytest.Quick)
	ids := gatewaytest.Guests(t, store, guests, g.URL)
	until.Promptly(t, time.Minute, "all parked", func() bool { return g.Polls().Parked == guests })
	bare := newBarePath(t, endpoint, guests)
	for _, load1 := range []struct{ calls, parallel int }{{200, 1}, {640, 64}} {
		var ours, theirs sample
		var oursAll, theirsAll time.Duration
		cs := clients(load1.parallel)
		for round := range rounds {
			o, oAll := load(t, load1.calls, load1.parallel, func(w int) error {
				return get(cs[w], g.URL+"/v1.0/"+gatewaytest.Project+gatewaytest.Instance(ids[w])+"/databases", gatewaytest.Member)
			})
			b, bAll := load(t, load1.calls, load1.parallel, func(w int) error {
				return get(cs[w], fmt.Sprintf("%s/call/%d", bare.srv.URL, w), "")
			})
			if round == 0 {
				continue // warms up
			}
			ours, theirs = append(ours, o...), append(theirs, b...)
			oursAll, theirsAll = oursAll+oAll, theirsAll+bAll
		}
		t.Logf("dispatch, %2d at once: ours %s; bare path %s; ratio p50 %.2f, of throughput %.2f (bar 1.3)", load1.parallel, ours, theirs,
			float64(ours.at(0.5))/float64(theirs.at(0.5)), oursAll.Seconds()/theirsAll.Seconds())
	}
}
