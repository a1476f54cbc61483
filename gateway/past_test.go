package gateway_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestAsOf shows an instance as it was before it got other names, by time and by revision, and a set as it was before a promotion; what etcd
// has forgotten, what was not there yet, what is to come and what is another project's is refused, each in its own words.
func TestAsOf(t *testing.T) {
	etcd, g, _ := start(t)
	c := g.Client(gatewaytest.Member)
	ids, _ := set(t, c, 1)
	source, replica := ids[0], ids[1]
	asOf := func(id string, at any) string {
		return gatewaytest.Instance(id) + "?as_of=" + url.QueryEscape(fmt.Sprint(at))
	}
	past := func(id string, at any) gatewaytest.Answer {
		t.Helper()
		return c.Want(t, http.StatusOK, http.MethodGet, asOf(id, at), "")
	}
	named := func(name string) time.Time {
		t.Helper()
		c.Want(t, http.StatusAccepted, http.MethodPatch, gatewaytest.Instance(source), `{"instance":{"name":"`+name+`"}}`)
		return time.Now()
	}
	one, two := named("one"), named("two")
	now := past(source, two.Format(time.RFC3339Nano))
	if got := now.Text("instance", "name"); got != "two" {
		t.Errorf("as of its second name it has the name %q: %s", got, now.Body)
	}
	if got := past(source, one.UTC().Format(time.RFC3339Nano)).Text("instance", "name"); got != "one" {
		t.Errorf("as of its first name it has the name %q", got)
	}
	changed := int64(now.At("as_of", "changed").(float64))
	if got := past(source, changed).Text("instance", "name"); got != "two" {
		t.Errorf("as of the revision that gave it its second name it has the name %q", got)
	}
	if got := past(source, int64(now.At("as_of", "earlier").(float64))).Text("instance", "name"); got != "one" {
		t.Errorf("as of the revision before it has the name %q", got)
	}

	c.Want(t, http.StatusAccepted, http.MethodPost, gatewaytest.Instance(replica)+"/action", `{"promote_to_replica_source":{}}`)
	waitFor(t, func() bool {
		a := c.Want(t, http.StatusOK, http.MethodGet, gatewaytest.Instance(source), "")
		return a.Text("instance", "role") == "replica" && a.Text("instance", "status") == "ACTIVE"
	})
	if got := past(source, two.Format(time.RFC3339Nano)); got.Text("instance", "role") != "source" || got.Text("instance", "replicas", 0, "id") != replica {
		t.Errorf("as of before the promotion it is no source: %s", got.Body)
	}
	if got := past(source, time.Now().Format(time.RFC3339Nano)).Text("instance", "role"); got != "replica" {
		t.Errorf("as of now it is a %q", got)
	}

	other := g.Client(gatewaytest.Other)
	other.Project = "p2"
	// Another member changes the set, and not the record of the member that is asked for.
	before := time.Now()
	more := c.Want(t, http.StatusOK, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"more","replica_of":%q}}`, replica)).Text("instance", "id")
	c.Await(t, more, "ACTIVE", soon)
	if got := past(source, time.Now().Format(time.RFC3339Nano)); got.At("instance", "failover", "members", 2) == nil {
		t.Errorf("as of now the set has no third member: %s", got.Body)
	}
	if got := past(source, before.Format(time.RFC3339Nano)); got.At("instance", "failover", "members", 1) == nil || got.At("instance", "failover", "members", 2) != nil {
		t.Errorf("as of before the set had no two members: %s", got.Body)
	}

	etcd.Compact(t, changed)
	for _, test := range []struct {
		who  gatewaytest.Client
		at   any
		want int
		says string
	}{
		{c, changed - 1, http.StatusGone, "compacted"},
		{c, one.Format(time.RFC3339Nano), http.StatusGone, "compacted"},
		{c, changed + 1e9, http.StatusBadRequest, "no revision"},
		{c, time.Now().Add(time.Hour).Format(time.RFC3339), http.StatusBadRequest, "still to come"},
		{c, "", http.StatusBadRequest, "as_of takes"},
		{c, 0, http.StatusBadRequest, "as_of takes"},
		{c, -1, http.StatusBadRequest, "as_of takes"},
		{c, "yesterday", http.StatusBadRequest, "as_of takes"},
		{other, changed, http.StatusNotFound, "cannot be found"},
	} {
		if a := test.who.Want(t, test.want, http.MethodGet, asOf(source, test.at), ""); !strings.Contains(string(a.Body), test.says) {
			t.Errorf("as of %v: %s", test.at, a.Body)
		}
	}
}
