package gateway_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

func TestVersionDocuments(t *testing.T) {
	g := gatewaytest.Start(t, etcdtest.New(t))
	for _, path := range []string{"/", "/v1.0", "/v1.0/", "/healthz", "/readyz"} {
		resp, err := http.Get(g.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("GET %s: %s", path, resp.Status)
		}
	}
	for _, path := range []string{"/metrics", "/debug/pprof/"} { // not where everybody may ask
		resp, err := http.Get(g.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: %s", path, resp.Status)
		}
	}
	if text := g.Metrics(t); !strings.Contains(text, "coffer_polls_parked 0") {
		t.Errorf("the metrics are %q", text)
	}
}

// A scrape of the metrics costs etcd nothing, and tells of a bad definition that nobody has read.
func TestScrape(t *testing.T) {
	etcd := etcdtest.Start(t)
	g := gatewaytest.Start(t, etcd.Store(t))
	problems := func() string {
		_, n, _ := strings.Cut(g.Metrics(t), "\ncoffer_definition_problems ")
		n, _, _ = strings.Cut(n, "\n")
		return n
	}
	until.True(t, time.Minute, "the definitions have been read", func() bool { return problems() == "0" })
	bad := etcdschema.VersionKey("memory", "1.0").String()
	etcd.Put(t, bad, "no JSON")
	until.True(t, time.Minute, "the bad definition is counted", func() bool { return problems() != "0" })
	before := etcd.Counters(t)
	const scrapes = 20
	for range scrapes {
		g.Metrics(t)
	}
	if got := etcd.Counters(t).Ranges - before.Ranges; got >= scrapes {
		t.Errorf("%d scrapes have cost etcd %.0f reads", scrapes, got)
	}
	etcd.Delete(t, bad)
	until.True(t, time.Minute, "the definition is gone", func() bool { return problems() == "0" })
}
