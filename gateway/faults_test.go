package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

func TestCreateRefused(t *testing.T) {
	store := etcdtest.New(t)
	gatewaytest.Define(t, store)
	c := gatewaytest.Start(t, store).Client(gatewaytest.Member)
	for _, r := range []struct {
		status   int
		says     string
		instance string
	}{
		{400, "name", `{"flavorRef":1,"volume":{"size":1}}`},
		{400, "name", `{"name":"---","flavorRef":1,"volume":{"size":1}}`},
		{400, "flavorRef", `{"name":"a","volume":{"size":1}}`},
		{400, "Flavor 9", `{"name":"a","flavorRef":9,"volume":{"size":1}}`},
		{404, "there is: memory", `{"name":"a","flavorRef":1,"volume":{"size":1},"datastore":{"type":"oracle"}}`},
		{400, "has the number", `{"name":"a","flavorRef":1,"volume":{"size":1},"datastore":{"type":"memory","version_number":"9.9.9"}}`},
		{400, "version '9'", `{"name":"a","flavorRef":1,"volume":{"size":1},"datastore":{"type":"memory","version":"9"}}`},
		{400, "volume size", `{"name":"a","flavorRef":1}`},
		{400, "volume", `{"name":"a","flavorRef":1,"volume":{"size":"big"}}`},
		{413, "11 GB", `{"name":"a","flavorRef":1,"volume":{"size":11}}`},
		{413, "256", `{"name":"a","flavorRef":1,"volume":{"size":1},"databases":[` + strings.Repeat(`{"name":"d"},`, 50_000) + `{"name":"e"}]}`},
		{400, "character set", `{"name":"a","flavorRef":1,"volume":{"size":1},"databases":[{"name":"d","character_set":"` + strings.Repeat("x", 65) + `"}]}`},
		{400, "reserved", `{"name":"a","flavorRef":1,"volume":{"size":1},"databases":[{"name":"system"}]}`},
		{400, "twice", `{"name":"a","flavorRef":1,"volume":{"size":1},"databases":[{"name":"d"},{"name":"d"}]}`},
		{400, "not among", `{"name":"a","flavorRef":1,"volume":{"size":1},"users":[{"name":"u","password":"p","databases":[{"name":"d"}]}]}`},
		{400, "password", `{"name":"a","flavorRef":1,"volume":{"size":1},"users":[{"name":"u","password":""}]}`},
		{400, "allowed_cidrs", `{"name":"a","flavorRef":1,"volume":{"size":1},"access":{"allowed_cidrs":["10.0.0.0/33"]}}`},
		{404, "Configuration x", `{"name":"a","flavorRef":1,"volume":{"size":1},"configuration":"x"}`},
		{404, "Backup", `{"name":"a","flavorRef":1,"volume":{"size":1},"restorePoint":{"backupRef":"0199d0a1-0000-7000-8000-00000000000b"}}`},
		{404, "Instance", `{"name":"a","replica_of":"0199d0a1-0000-7000-8000-00000000000b"}`},
		{400, "replica_count", `{"name":"a","flavorRef":1,"volume":{"size":1},"replica_count":2}`},
		{400, "flavorRef of its source", `{"name":"a","flavorRef":1,"replica_of":"0199d0a1-0000-7000-8000-00000000000b"}`},
		{400, "1 to 3", `{"name":"a","replica_of":"0199d0a1-0000-7000-8000-00000000000b","replica_count":4}`},
		{400, "agent-urls", `{"name":"a","flavorRef":1,"volume":{"size":1},"user_data":true}`},
	} {
		a := c.Do(t, http.MethodPost, "/instances", `{"instance":`+r.instance+`}`)
		if a.Status != r.status || !strings.Contains(string(a.Body), r.says) {
			t.Errorf("create %.200s: %d %s; want %d and a word of %q", r.instance, a.Status, a.Body, r.status, r.says)
		}
	}
	if list := c.Want(t, 200, http.MethodGet, "/instances", ""); list.At("instances", 0) != nil {
		t.Errorf("a refused create left something: %s", list.Body)
	}
}

// TestNoHost asks for an instance that nobody can serve: it is there, says why, and goes at once.
func TestNoHost(t *testing.T) {
	store := etcdtest.New(t)
	gatewaytest.Define(t, store)
	c := gatewaytest.Start(t, store).Client(gatewaytest.Member)
	id := c.Create(t, "nowhere", "")
	a := c.Await(t, id, "ERROR", soon)
	if got := a.Text("instance", "fault", "message"); !strings.Contains(got, "no host has enrolled") {
		t.Errorf("fault %q", got)
	}
	c.Want(t, 422, http.MethodGet, gatewaytest.Instance(id)+"/databases", "")
	c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(id), "")
	c.Want(t, 404, http.MethodGet, gatewaytest.Instance(id), "")
}

// TestUserData boots a machine, as far as a test can, with the user-data of an instance without a host: a guest that
// has nothing but the configuration in it.
func TestUserData(t *testing.T) {
	store := etcdtest.New(t)
	gatewaytest.Define(t, store)
	g := gatewaytest.Start(t, store, func(c *gateway.Config) { c.AgentURLs = []string{"http://127.0.0.1:1"} })
	c := g.Client(gatewaytest.Member)
	a := c.Want(t, 200, http.MethodPost, "/instances", `{"instance":{"name":"vm","flavorRef":1,"volume":{"size":1},"user_data":true,"users":[{"name":"bob","password":"pw"}]}}`)
	id := a.Text("instance", "id")
	why := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/why", "")
	if got := why.Text("why", "step"); got != "enrol" {
		t.Errorf("it waits at step %q: %s", got, why.Body)
	}
	memory := gatewaytest.StartMachine(t, g, a.Text("instance", "user_data"))
	c.Await(t, id, "ACTIVE", soon)
	if err := memory.Connect(t.Context(), "0.0.0.0", "bob", "pw", ""); err != nil {
		t.Errorf("bob cannot connect: %v", err)
	}
	c.Want(t, 202, http.MethodDelete, gatewaytest.Instance(id), "")
	c.Want(t, 404, http.MethodGet, gatewaytest.Instance(id), "")
}

// TestQuotaUnderConcurrency lets many ask at once for what only ten may have.
func TestQuotaUnderConcurrency(t *testing.T) {
	store := etcdtest.New(t)
	gatewaytest.Define(t, store)
	one, two := gatewaytest.Start(t, store), gatewaytest.Start(t, store)
	var made, refused atomic.Int64
	var asking sync.WaitGroup
	for i := range 30 {
		asking.Go(func() {
			c := []*gatewaytest.Gateway{one, two}[i%2].Client(gatewaytest.Member)
			a, err := c.Try(http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"i%d","flavorRef":1,"volume":{"size":1}}}`, i))
			switch {
			case err != nil:
				t.Error(err)
			case a.Status == 200:
				made.Add(1)
			case a.Status == 413:
				refused.Add(1)
			default:
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
	asking.Wait()
	if made.Load() != 10 || refused.Load() != 20 {
		t.Errorf("%d made, %d refused; want 10 and 20", made.Load(), refused.Load())
	}
}

// TestGuestAway calls a guest that is gone: first nobody can know, and the call is withdrawn at its deadline; then it is
// known, and the call is refused at once.
func TestGuestAway(t *testing.T) {
	etcd, g, host := start(t, func(c *gateway.Config) { c.Expiry = 4 * time.Second })
	c := g.Client(gatewaytest.Member)
	id := c.Create(t, "away", "")
	c.Await(t, id, "ACTIVE", soon)
	at := gatewaytest.Instance(id)
	host.StopGuest(id)
	if a := c.Want(t, 504, http.MethodPost, at+"/databases", `{"databases":[{"name":"late"}]}`); a.At("gatewayTimeout", "message") == nil {
		t.Errorf("504: %s", a.Body)
	}
	if left := etcd.All(t, "/guest/commands/"+id); len(left) > 0 {
		t.Errorf("the command is still there: %v", left)
	}
	began := time.Now()
	a := c.Want(t, 503, http.MethodGet, at+"/databases", "")
	if took := time.Since(began); took > 5*time.Second || !strings.Contains(a.Text("serviceUnavailable", "message"), "since") {
		t.Errorf("after %s: %s", took, a.Body)
	}
	if a.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	shown := c.Want(t, 200, http.MethodGet, at, "")
	if got := shown.Text("instance", "fault", "message"); shown.Text("instance", "status") != "ERROR" || !strings.HasPrefix(got, "The guest is not connected since") {
		t.Errorf("an instance whose guest is gone: %s", shown.Body)
	}
	if list := c.Want(t, 200, http.MethodGet, "/instances", ""); list.Text("instances", 0, "status") != "ERROR" {
		t.Errorf("in the list: %s", list.Body)
	}
	if why := c.Want(t, 200, http.MethodGet, at+"/why", ""); !strings.Contains(why.Text("why", "summary"), "not connected since") {
		t.Errorf("why: %s", why.Body)
	}
	host.StartGuest(t, id)
	until.True(t, time.Minute, "the guest is back", func() bool { return g.Polls().Parked == 2 })
	if got := c.Want(t, 200, http.MethodGet, at, "").Text("instance", "status"); got != "ACTIVE" {
		t.Errorf("status %s though the guest is back", got)
	}
	if list := c.Want(t, 200, http.MethodGet, at+"/databases", ""); list.At("databases", 0) != nil {
		t.Errorf("the withdrawn command took effect: %s", list.Body)
	}
}
