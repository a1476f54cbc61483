package gateway_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestIdleFleetCostsEtcdNothing parks 1,000 agents and counts what etcd does while each of them polls twice more.
func TestIdleFleetCostsEtcdNothing(t *testing.T) {
	const agents = 1000
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	g := gatewaytest.Start(t, store, gatewaytest.Quick, gatewaytest.Hold(3*time.Second))
	gatewaytest.Fleet(t, store, agents, g.URL)
	until.True(t, time.Minute, "all agents parked and present", func() bool {
		present, err := etcdschema.Count(t.Context(), store, etcdschema.AllPresence())
		return err == nil && present == agents && g.Polls().Parked == agents
	})
	parked := g.Polls().Polls
	until.True(t, time.Minute, "a hold, after which nobody is new", func() bool { return g.Polls().Polls >= parked+agents+agents/2 })
	polls, before := g.Polls().Polls, etcd.Counters(t)
	until.True(t, time.Minute, "two holds", func() bool { return g.Polls().Polls >= polls+2*agents })
	after := etcd.Counters(t)
	if after.Puts != before.Puts || after.Ranges != before.Ranges || after.Txns != before.Txns {
		t.Errorf("%d polls of an idle fleet cost etcd %.0f puts, %.0f ranges, %.0f transactions; want none",
			g.Polls().Polls-polls, after.Puts-before.Puts, after.Ranges-before.Ranges, after.Txns-before.Txns)
	}
}

// many is a quota for tests with many instances.
func many(c *gateway.Config) {
	gatewaytest.Unlimited("enrol", "instances", "volumes", "backups", "configurations")(c)
}

// TestTwoGatewaysAlternate sends a whole life's requests to two gateways in turn, while the guest polls one of them.
func TestTwoGatewaysAlternate(t *testing.T) {
	etcd := etcdtest.Start(t)
	gatewaytest.Define(t, etcd.Store(t))
	gateways := []*gatewaytest.Gateway{gatewaytest.Start(t, etcd.Store(t)), gatewaytest.Start(t, etcd.Store(t))}
	gatewaytest.StartHost(t, gateways[0], gateways[1].URL)
	turn := 0
	next := func() gatewaytest.Client {
		turn++
		return gateways[turn%2].Client(gatewaytest.Member)
	}
	id := next().Create(t, "alternating", "")
	next().Await(t, id, "ACTIVE", soon)
	at := gatewaytest.Instance(id)
	for _, db := range []string{"a", "b", "c", "d", "e", "f"} {
		next().Want(t, 202, http.MethodPost, at+"/databases", `{"databases":[{"name":"`+db+`"}]}`)
		next().Want(t, 200, http.MethodGet, at+"/databases", "")
	}
	if got := next().Want(t, 200, http.MethodGet, at+"/databases", ""); got.Text("databases", 5, "name") != "f" {
		t.Errorf("databases: %s", got.Body)
	}
	next().Want(t, 202, http.MethodPost, at+"/action", `{"restart":{}}`)
	next().Await(t, id, "ACTIVE", soon)
	next().Want(t, 202, http.MethodDelete, at, "")
	next().AwaitGone(t, id, soon)
}

// TestDrainedGateway drains one of two gateways that hold 200 guests, while tenants go on calling them through whichever
// still takes requests. No call may see a 5xx, as it would if its guest did not come to the other gateway in time.
func TestDrainedGateway(t *testing.T) {
	const guests, callers = 200, 8
	etcd := etcdtest.Start(t)
	gatewaytest.Define(t, etcd.Store(t))
	one := gatewaytest.Start(t, etcd.Store(t), gatewaytest.Quick, many)
	two := gatewaytest.Start(t, etcd.Store(t), gatewaytest.Quick, many)
	gatewaytest.StartHost(t, one, two.URL)
	c := two.Client(gatewaytest.Member)
	ids := make([]string, guests)
	for i := range ids {
		ids[i] = c.Create(t, "fleet", "")
	}
	for _, id := range ids {
		c.Await(t, id, "ACTIVE", time.Minute)
	}
	stop := make(chan struct{})
	var calling sync.WaitGroup
	var mu sync.Mutex
	var slowest time.Duration
	calls, refused := 0, 0
	for caller := range callers {
		calling.Go(func() {
			for i := caller; ; i += callers {
				select {
				case <-stop:
					return
				default:
				}
				g := []*gatewaytest.Gateway{one, two}[i%2]
				began := time.Now()
				a, err := g.Client(gatewaytest.Member).Try(http.MethodGet, gatewaytest.Instance(ids[i%guests])+"/databases", "")
				mu.Lock()
				calls++
				slowest = max(slowest, time.Since(began))
				switch {
				case err != nil && g == two:
					t.Errorf("the gateway that stays: %v", err)
				case err != nil:
					refused++ // it does not listen any more: a load balancer has taken it out
				case a.Status >= 500:
					t.Errorf("status %d: %s", a.Status, a.Body)
				}
				mu.Unlock()
			}
		})
	}
	called := func() int { mu.Lock(); defer mu.Unlock(); return calls }
	until.True(t, soon, "calls before the drain", func() bool { return called() > 2*guests })
	one.Stop(t)
	after := called()
	until.True(t, time.Minute, "calls after the drain", func() bool { return called() > after+4*guests })
	close(stop)
	calling.Wait()
	t.Logf("%d calls, %d of them to the gateway that was gone; the slowest took %s", calls, refused, slowest)
}
