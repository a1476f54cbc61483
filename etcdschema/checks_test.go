package etcdschema_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
)

func TestHostIsAsked(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	one := deployments.Definition{Manager: "redis", Guest: json.RawMessage(`{"a":1}`)}
	two := deployments.Definition{Manager: "redis", Guest: json.RawMessage(`{"a":2}`)}
	other := deployments.Definition{Manager: "mysql", Guest: json.RawMessage(`{"a":1}`)}
	all := []deployments.Definition{one, two, one, other}
	host := func(change func(*etcdschema.HostCheck)) etcdschema.HostCheck {
		h := etcdschema.HostCheck{
			Offer: deployments.Offer{Managers: []string{"redis"}, Inventory: "i"}, Checked: "i", At: now,
			Verdicts: map[string]datastores.Verdict{one.ID(): {}, two.ID(): {}},
		}
		change(&h)
		return h
	}
	for _, c := range []struct {
		name    string
		change  func(*etcdschema.HostCheck)
		after   time.Duration
		ask     int
		unknown bool
	}{
		{"it has judged all", func(*etcdschema.HostCheck) {}, 24 * time.Hour, 0, false},
		{"one is new", func(h *etcdschema.HostCheck) { delete(h.Verdicts, two.ID()) }, 0, 2, true},
		{"its packages have changed", func(h *etcdschema.HostCheck) { h.Inventory = "j" }, 0, 2, false},
		{"it could not a moment ago", func(h *etcdschema.HostCheck) { h.Verdicts[two.ID()] = datastores.Verdict{Unable: "no"} }, 59 * time.Second, 0, false},
		{"it could not a minute ago", func(h *etcdschema.HostCheck) { h.Verdicts[two.ID()] = datastores.Verdict{Unable: "no"} }, time.Minute, 2, false},
		{"it has no guest for any", func(h *etcdschema.HostCheck) { h.Managers, h.Inventory = nil, "j" }, 0, 0, false},
	} {
		ask, unknown := host(c.change).Ask(all, now.Add(c.after))
		if len(ask) != c.ask || unknown != c.unknown {
			t.Errorf("%s: asked of %d, unknown %v; want %d, %v", c.name, len(ask), unknown, c.ask, c.unknown)
		}
	}
}

// TestCatalogueHearsHosts: what hosts say of a definition decides, and one of them is enough.
func TestCatalogueHearsHosts(t *testing.T) {
	srv := etcdtest.Start(t)
	s := srv.Store(t)
	put := func(n string, managers []string, v datastores.Verdict) {
		t.Helper()
		d := deployments.Definition{Manager: "redis", Guest: json.RawMessage(goodGuest)}
		value, err := json.Marshal(etcdschema.HostCheck{Offer: deployments.Offer{Managers: managers}, Verdicts: map[string]datastores.Verdict{d.ID(): v}})
		if err != nil {
			t.Fatal(err)
		}
		srv.Put(t, "/server/checks/0199d0a1-0000-7000-8000-00000000000"+n, string(value))
	}
	srv.Put(t, serverKey, goodServer)
	srv.Put(t, guestKey, goodGuest)
	version := func() (etcdschema.Version, bool, int) {
		t.Helper()
		c := catalogue(t, s)
		v, offered := c.FindVersion("redis", "7.0")
		return v, offered, len(c.Problems)
	}
	if v, offered, _ := version(); !offered || v.Unserved != "" {
		t.Errorf("without hosts: offered %v, unserved %q", offered, v.Unserved)
	}
	put("1", nil, datastores.Verdict{})
	if v, offered, _ := version(); !offered || !strings.Contains(v.Unserved, "no guest binary redis-guest") {
		t.Errorf("a host without a guest: offered %v, unserved %q", offered, v.Unserved)
	}
	srv.Put(t, "/server/checks/0199d0a1-0000-7000-8000-000000000001", `{"managers":[],"refused":["redis"]}`)
	if v, _, _ := version(); strings.Contains(v.Unserved, "no guest binary") || !strings.Contains(v.Unserved, "redis-guest is not offered") {
		t.Errorf("a host that refuses its guest: unserved %q", v.Unserved)
	}
	put("2", []string{"redis"}, datastores.Verdict{Unable: "the package is not to be had"})
	if v, _, _ := version(); !strings.Contains(v.Unserved, "the package is not to be had") {
		t.Errorf("two hosts that cannot: %q", v.Unserved)
	}
	put("3", []string{"redis"}, datastores.Verdict{Problems: []string{"colour: unknown option"}})
	if v, offered, problems := version(); !offered || problems != 0 || v.Unserved == "" {
		t.Errorf("a host of which one takes the options: offered %v, %d problems, unserved %q", offered, problems, v.Unserved)
	}
	put("2", []string{"redis"}, datastores.Verdict{Problems: []string{"colour: unknown option"}})
	if _, offered, problems := version(); offered || problems != 1 {
		t.Errorf("no host takes the options: offered %v, %d problems", offered, problems)
	}
	put("4", []string{"redis"}, datastores.Verdict{})
	if v, offered, problems := version(); !offered || problems != 0 || v.Unserved != "" {
		t.Errorf("one host can: offered %v, %d problems, unserved %q", offered, problems, v.Unserved)
	}
	srv.Put(t, "/server/checks/0199d0a1-0000-7000-8000-000000000004", "nonsense")
	catalogue(t, s)
}
