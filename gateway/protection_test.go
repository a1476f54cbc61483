package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestAccess: whatever way a request says who may reach an instance, its host hears of networks, and of nothing that it
// would refuse.
func TestAccess(t *testing.T) {
	_, g, host := start(t)
	c := g.Client(gatewaytest.Member)
	rules := func(id string) deployments.Firewall {
		t.Helper()
		return host.Launched(id).Firewall
	}
	for name, test := range map[string]struct {
		access string // of a create
		want   deployments.Firewall
	}{
		"no access is everybody":        {"", deployments.Firewall{}},
		"no networks are everybody":     {`,"access":{"is_public":true}`, deployments.Firewall{}},
		"an empty list is everybody":    {`,"access":{"allowed_cidrs":[]}`, deployments.Firewall{}},
		"an address is a network":       {`,"access":{"allowed_cidrs":["10.0.0.5","10.1.2.3/16","10.0.0.5/32"]}`, deployments.Firewall{CIDRs: gatewaytest.Prefixes("10.0.0.5/32", "10.1.0.0/16")}},
		"everybody in so many words is": {`,"access":{"allowed_cidrs":["0.0.0.0/0"]}`, deployments.Firewall{CIDRs: gatewaytest.Prefixes("0.0.0.0/0")}},
	} {
		id := c.Create(t, "db", test.access)
		c.Await(t, id, "ACTIVE", soon)
		if got := rules(id); !slices.Equal(got.CIDRs, test.want.CIDRs) || got.Closed {
			t.Errorf("create, %s: the host lets in %v, closed %v", name, got.CIDRs, got.Closed)
		}
	}

	id := c.Create(t, "db", `,"access":{"allowed_cidrs":["10.0.0.0/8"]}`)
	c.Await(t, id, "ACTIVE", soon)
	at := gatewaytest.Instance(id)
	for _, test := range []struct {
		name, access, shown string
		want                deployments.Firewall
	}{
		{"an address is a network", `{"allowed_cidrs":["10.0.0.5"]}`, "[10.0.0.5]", deployments.Firewall{CIDRs: gatewaytest.Prefixes("10.0.0.5/32")}},
		{"no networks are nobody", `{"is_public":true}`, "[]", deployments.Firewall{Closed: true}},
		{"networks open it again", `{"allowed_cidrs":["10.0.0.5/32","192.0.2.0/24"]}`, "[10.0.0.5/32 192.0.2.0/24]", deployments.Firewall{CIDRs: gatewaytest.Prefixes("10.0.0.5/32", "192.0.2.0/24")}},
		{"an empty list is nobody", `{"is_public":false,"allowed_cidrs":[]}`, "[]", deployments.Firewall{Closed: true}},
	} {
		c.Want(t, 202, http.MethodPut, at, `{"instance":{"access":`+test.access+`}}`)
		waitFor(t, func() bool {
			got := rules(id)
			return slices.Equal(got.CIDRs, test.want.CIDRs) && got.Closed == test.want.Closed
		})
		if got := fmt.Sprint(c.Want(t, 200, http.MethodGet, at, "").At("instance", "access", "allowed_cidrs")); got != test.shown {
			t.Errorf("%s: shown are %s, want %s", test.name, got, test.shown)
		}
	}
	if got := string(c.Want(t, 200, http.MethodGet, at+"/events?limit=100", "").Body); !strings.Contains(got, "nobody may reach the instance") {
		t.Errorf("the timeline does not say that nobody may reach the instance: %s", got)
	}

	// A replica of a closed source is closed; one that is asked for with an address has its network.
	c.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"r","replica_of":%q}}`, id))
	c.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"s","replica_of":%q,"access":{"allowed_cidrs":["10.0.0.7"]}}}`, id))
	a := c.Want(t, 200, http.MethodGet, at, "")
	replicas := map[string]deployments.Firewall{}
	for i := range 2 {
		replica := a.Text("instance", "replicas", i, "id")
		name := c.Await(t, replica, "ACTIVE", soon).Text("instance", "name")
		replicas[name] = rules(replica)
	}
	if got := replicas["r"]; !got.Closed || len(got.Peers) == 0 {
		t.Errorf("the replica of a closed source is closed: %v, and lets through %v", got.Closed, got.Peers)
	}
	if got := replicas["s"]; got.Closed || !slices.Equal(got.CIDRs, gatewaytest.Prefixes("10.0.0.7/32")) {
		t.Errorf("the replica with an address lets in %v", got.CIDRs)
	}
	if got := rules(id).Peers; len(got) != 2 {
		t.Errorf("the closed source lets through %v, want its two replicas", got)
	}

	for _, bad := range []string{"fd00::/8", "::1", "10.0.0.0/33", "10.0.0", "all", "", "10.0.0.0/8\",\"10.0.0.0/8"} {
		access := `"access":{"allowed_cidrs":["` + bad + `"]}`
		told := c.Want(t, 400, http.MethodPut, at, `{"instance":{`+access+`}}`).Text("badRequest", "message")
		if !strings.Contains(told, "access['allowed_cidrs']") || strings.Contains(bad, ":") && !strings.HasSuffix(told, "Instances have addresses of IPv4 only: name those that clients come from.") {
			t.Errorf("%q is refused with %q", bad, told)
		}
		c.Want(t, 400, http.MethodPost, "/instances", `{"instance":{"name":"x","flavorRef":1,"volume":{"size":1},"datastore":{"type":"memory"},`+access+`}}`)
		c.Want(t, 400, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"x","replica_of":%q,%s}}`, id, access))
	}
	many := strings.Repeat(`"10.0.0.1",`, 300) + `"10.0.0.2"`
	c.Want(t, 413, http.MethodPut, at, `{"instance":{"access":{"allowed_cidrs":[`+many+`]}}}`)
}
