package gateway_test

import (
	"net/http"
	"strings"
	"testing"

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
