package attacks

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestM10NotPublicIsOpenToEverybody makes instances as Trove's clients do, without allowed_cidrs, and reaches them from anywhere.
func TestM10NotPublicIsOpenToEverybody(t *testing.T) {
	s := newScene(t)
	key := etcdschema.VersionKey("memory", "1")
	_, err := s.store.Update(t.Context(), []etcdschema.Ref{key}, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(snap, key)
		rec.Value.PrivateCIDRs = []string{"10.1.0.0/16"}
		return []etcdschema.Op{etcdschema.Put(key, rec.Value)}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	host := gatewaytest.StartHost(t, s.Gateway)
	c := s.Client(gatewaytest.Member)
	for access, want := range map[string][]string{
		``:                                   {"10.1.0.0/16"},
		`,"access":{"is_public":false}`:      {"10.1.0.0/16"},
		`,"access":{"allowed_cidrs":[]}`:     {"10.1.0.0/16"},
		`,"access":{"is_public":true}`:       nil,
		`,"access":{"allowed_cidrs":["::"]}`: {"refused"},
		`,"access":{"is_public":false,"allowed_cidrs":["10.2.0.5"]}`: {"10.2.0.5/32"},
	} {
		if slices.Equal(want, []string{"refused"}) {
			c.Want(t, http.StatusBadRequest, http.MethodPost, "/instances", `{"instance":{"name":"x","flavorRef":1,"volume":{"size":1},"datastore":{"type":"memory"}`+access+`}}`)
			continue
		}
		id := c.Create(t, "db", access)
		a := c.Await(t, id, "ACTIVE", patience)
		if got := host.Launched(id).Firewall; !slices.Equal(got.CIDRs, gatewaytest.Prefixes(want...)) || got.Closed {
			t.Errorf("%q: the host lets in %v, closed: %t; want %v", access, got.CIDRs, got.Closed, want)
		}
		if shown := len(a.At("instance", "access", "allowed_cidrs").([]any)); shown != len(want) {
			t.Errorf("%q: its tenant sees %d networks, want %d", access, shown, len(want))
		}
	}
}

// TestEForwardedHostIsBelieved names another host in X-Forwarded-Host: links lead a client, with its token, to where an attacker says.
func TestEForwardedHostIsBelieved(t *testing.T) {
	trusting := func(c *gateway.Config) { c.TrustProxy = true }
	for proxy, s := range map[bool]scene{false: newScene(t), true: newScene(t, trusting)} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v1.0/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-Host", "evil.example")
		req.Header.Set("X-Forwarded-Proto", "https")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if believed := strings.Contains(string(body), "https://evil.example/"); believed != proxy || resp.StatusCode != http.StatusOK {
			t.Errorf("-trust-proxy %t: %d %s", proxy, resp.StatusCode, body)
		}
	}
}
