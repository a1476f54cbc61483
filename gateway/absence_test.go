package gateway_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// impatient has gateways judge soon.
func impatient(c *gateway.Config) { c.Hold, c.Expiry = 2*time.Second, 4*time.Second }

// shown is an instance's status and fault, as a gateway shows them.
func shown(t *testing.T, g *gatewaytest.Gateway, id string) (status, fault string) {
	t.Helper()
	a := g.Client(gatewaytest.Member).Want(t, 200, http.MethodGet, gatewaytest.Instance(id), "")
	return a.Text("instance", "status"), a.Text("instance", "fault", "message")
}

func isShown(t *testing.T, g *gatewaytest.Gateway, id, status string) func() bool {
	return func() bool { got, _ := shown(t, g, id); return got == status }
}

// TestAbsenceIsTheSameEverywhere ends the gateway at which all agents poll, which know no other: it is put down once since when it is gone, and
// the gateway that saw it and one that is started later say the same of the instance. When the agents have somewhere to go all is well.
func TestAbsenceIsTheSameEverywhere(t *testing.T) {
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	gatewaytest.Define(t, store)
	one, two := gatewaytest.Start(t, etcd.Store(t), impatient), gatewaytest.Start(t, etcd.Store(t), impatient)
	gatewaytest.StartHost(t, one)
	id := one.Client(gatewaytest.Member).Create(t, "db", "")
	one.Client(gatewaytest.Member).Await(t, id, "ACTIVE", soon)
	one.Stop(t)
	var left etcdschema.Record[etcdschema.GatewayPolls]
	until.True(t, soon, "it is put down", func() bool {
		list, err := etcdschema.List(t.Context(), store, etcdschema.AllGatewayPolls(), etcdschema.Page{})
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range list.Records {
			if !rec.Value.Left.IsZero() {
				left = rec
			}
		}
		return left.Found
	})
	if status, fault := shown(t, two, id); status != "ACTIVE" {
		t.Errorf("judged at once: %s, %s", status, fault)
	}
	// The host is judged a moment before its guest, or after it.
	until.True(t, soon, "both are absent", func() bool { _, fault := shown(t, two, id); return strings.Contains(fault, "host is not connected") })
	three := gatewaytest.Start(t, etcd.Store(t), impatient)
	_, said := shown(t, two, id)
	// The gateway that ended may have missed the guest a moment before it was missed itself.
	_, since, _ := strings.Cut(said, " since ")
	since, _, _ = strings.Cut(since, ";")
	if at, err := time.Parse("2006-01-02T15:04:05", since); err != nil || at.After(left.Value.Left) {
		t.Errorf("%s: %v; the gateway has left at %s", said, err, left.Value.Left)
	}
	for _, g := range []*gatewaytest.Gateway{two, three} {
		if status, fault := shown(t, g, id); status != "ERROR" || fault != said || !strings.Contains(fault, "host is not connected") {
			t.Errorf("%s, %s", status, fault)
		}
		c := g.Client(gatewaytest.Member)
		c.Want(t, 503, http.MethodGet, gatewaytest.Instance(id)+"/databases", "")
		if a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/configuration", ""); a.Text("instance", "configuration", "max_connections") != "100" {
			t.Errorf("what its guest has said of its server when it was made: %s", a.Body)
		}
	}
	if rec, err := etcdschema.Get(t.Context(), store, etcdschema.GatewayPollsKey(etcdschema.AllGatewayPolls().Name(left.Key))); err != nil || rec.Changed != left.Changed {
		t.Errorf("it was put down again, or is gone: %v", err)
	}
	gatewaytest.StartAt(t, etcd.Store(t), strings.TrimPrefix(one.URL, "http://"), impatient)
	for _, g := range []*gatewaytest.Gateway{two, three} {
		until.True(t, time.Minute, "the guest is back", isShown(t, g, id, "ACTIVE"))
	}
}

// TestFirstGatewayGivesTime starts a gateway after there was none for an hour: nobody is judged before there was time to come back. A gateway
// that is started beside it then judges at once, with the time from before.
func TestFirstGatewayGivesTime(t *testing.T) {
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	gatewaytest.Define(t, store)
	one := gatewaytest.Start(t, etcd.Store(t), impatient)
	gatewaytest.StartHost(t, one)
	id := one.Client(gatewaytest.Member).Create(t, "db", "")
	one.Client(gatewaytest.Member).Await(t, id, "ACTIVE", soon)
	one.Stop(t)
	hourAgo := time.Now().Add(-time.Hour).UTC()
	if _, err := store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		return []etcdschema.Op{
			etcdschema.Put(etcdschema.PresenceKey(id), etcdschema.Presence{Since: hourAgo, Judged: hourAgo}),
			etcdschema.Put(etcdschema.OpenedKey(), etcdschema.Opened{At: hourAgo}),
		}, nil
	}); err != nil {
		t.Fatal(err)
	}
	first := gatewaytest.Start(t, etcd.Store(t), impatient)
	if status, fault := shown(t, first, id); status != "ACTIVE" {
		t.Errorf("judged at once: %s, %s", status, fault)
	}
	until.True(t, soon, "the guest is absent", isShown(t, first, id, "ERROR"))
	second := gatewaytest.Start(t, etcd.Store(t), impatient)
	if status, fault := shown(t, second, id); status != "ERROR" || !strings.Contains(fault, hourAgo.Format("2006-01-02T15:04:05")) {
		t.Errorf("%s, %s", status, fault)
	}
}

// TestEtcdAwayJudgesNobody cuts a gateway off from etcd for longer than two expiries while its agents poll it, and lets one of them be silent: neither
// is told absent by what happened meanwhile.
func TestEtcdAwayJudgesNobody(t *testing.T) {
	etcd := etcdtest.Start(t)
	store := etcd.Store(t)
	gatewaytest.Define(t, store)
	proxy := etcd.Proxy(t)
	g := gatewaytest.Start(t, etcdtest.Open(t, proxy.Endpoint()), impatient)
	beside := gatewaytest.Start(t, etcd.Store(t), impatient)
	host := gatewaytest.StartHost(t, g)
	c := g.Client(gatewaytest.Member)
	there, silent := c.Create(t, "there", ""), c.Create(t, "silent", "")
	c.Await(t, there, "ACTIVE", soon)
	c.Await(t, silent, "ACTIVE", soon)
	presence := func(id string) etcdschema.Presence {
		rec, err := etcdschema.Get(t.Context(), store, etcdschema.PresenceKey(id))
		if err != nil {
			t.Fatal(err)
		}
		return rec.Value
	}
	until.True(t, soon, "both are told present", func() bool { return presence(there).Gateway != "" && presence(silent).Gateway != "" })
	host.StopGuest(silent)
	began := time.Now()
	proxy.Cut()
	until.True(t, time.Minute, "two expiries", func() bool { return time.Since(began) > 8*time.Second })
	proxy.Mend()
	mended := time.Now()
	until.True(t, time.Minute, "the silent one is judged", isShown(t, beside, silent, "ERROR"))
	if judged := presence(silent).Judged; judged.Before(mended) {
		t.Errorf("it was judged at %s, before etcd was back at %s", judged, mended)
	}
	if got, _ := shown(t, beside, there); got != "ACTIVE" || presence(there).Gateway == "" {
		t.Errorf("the one that was there all the time is %s: %+v", got, presence(there))
	}
}
