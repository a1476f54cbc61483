package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

const stormSecret = "storm-storm-storm-storm-storm-storm-storm-x" // 43 characters, as a real one

func stormID(i int) string { return fmt.Sprintf("00000000-0000-7000-9000-%012d", i) }

// TestBenchStorm restarts a gateway that holds 15,000 polls, and measures how long it takes until all are parked again.
// The agents are in a process of their own: one process may open 20,000 files.
func TestBenchStorm(t *testing.T) {
	if addr := os.Getenv("COFFER_STORM"); addr != "" {
		storm(addr)
		return
	}
	bench(t)
	const agents = 15_000
	store := etcdtest.Open(t, durable(t))
	for at := 0; at < agents; at += 100 {
		_, err := store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
			var ops []etcdschema.Op
			for i := at; i < at+100; i++ {
				ops = append(ops, etcdschema.Put(etcdschema.AgentKey(stormID(i)), etcdschema.Agent{
					ID: stormID(i), Kind: agentpoll.Host, CredentialHash: agentpoll.HashSecret(stormSecret), Sequence: 1,
				}))
			}
			return ops, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	g := gatewaytest.Start(t, store)
	addr := strings.TrimPrefix(g.URL, "http://")
	fleet := exec.Command(os.Args[0], "-test.run", "^TestBenchStorm$", "-test.v")
	fleet.Env = append(os.Environ(), "COFFER_STORM="+addr)
	answers, err := fleet.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := fleet.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = fleet.Process.Kill(); _ = fleet.Wait() }()
	until.Promptly(t, 2*time.Minute, "parked for the first time", func() bool { return g.Polls().Parked == agents })
	g.Stop(t)
	began := time.Now()
	g = gatewaytest.StartAt(t, store, addr)
	until.Promptly(t, 2*time.Minute, "parked again", func() bool { return g.Polls().Parked == agents })
	stats := g.Polls()
	t.Logf("%d agents parked again %s after the restart (bar 10 s); %d refused, %d answered 429, %d failed",
		agents, time.Since(began).Round(time.Millisecond), stats.Refused, stats.Overload, stats.Failed)
	cpu, polls, window := processTime(t), g.Polls().Polls, time.Now()
	until.Promptly(t, 3*time.Minute, "a hold", func() bool { return g.Polls().Polls >= polls+agents })
	took := time.Since(window)
	perThousand := (processTime(t) - cpu).Seconds() / took.Seconds() * 100 / (agents / 1000)
	t.Logf("%d idle agents, %.0f polls a second: %.2f %% of a core for 1,000, gateway and its etcd together (bar 0.5 %%)",
		agents, float64(g.Polls().Polls-polls)/took.Seconds(), perThousand)
	_ = fleet.Process.Kill()
	rest, _ := io.ReadAll(answers)
	if strings.Contains(string(rest), "5xx") {
		t.Errorf("agents saw a 5xx: %.300s", rest)
	}
}

// processTime is the processor time that this process has used: the gateway's and its etcd's.
func processTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// storm is the fleet: 15,000 connections that poll, and connect again within a second when they are cut.
func storm(addr string) {
	var polling sync.WaitGroup
	var bad atomic.Int64
	gate := make(chan struct{}, 512) // connections being made
	for i := range 15_000 {
		polling.Go(func() {
			for {
				gate <- struct{}{}
				conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(context.Background(), "tcp", addr)
				<-gate
				if err == nil {
					pollUntilCut(conn, stormID(i), &bad)
				}
				until.Passed(500 * time.Millisecond)
			}
		})
	}
	polling.Wait()
}

func pollUntilCut(conn net.Conn, id string, bad *atomic.Int64) {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 512)
	credential := agentpoll.Credential{AgentID: id, Secret: stormSecret}
	cursor := ""
	for {
		at, _ := agentpoll.ParseCursor(cursor)
		body := fmt.Sprintf(`{"cursor":{"epoch":%q,"revision":%d}}`, at.Epoch, at.Revision)
		_, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s",
			agentpoll.PathPoll, credential.Header(), len(body), body)
		if err != nil {
			return
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		switch {
		case resp.StatusCode == http.StatusNoContent:
			cursor = resp.Header.Get(agentpoll.HeaderCursor)
		case resp.StatusCode == http.StatusServiceUnavailable && bad.Add(1) > 0:
			return // draining: the one 5xx that is meant to be
		case resp.StatusCode >= 500:
			fmt.Println("5xx", resp.StatusCode)
			return
		}
	}
}
