package gateway_test

import (
	"net/http"
	"testing"

	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

func TestVersionDocuments(t *testing.T) {
	g := gatewaytest.Start(t, etcdtest.New(t))
	for _, path := range []string{"/", "/v1.0", "/v1.0/", "/healthz", "/readyz", "/metrics"} {
		resp, err := http.Get(g.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("GET %s: %s", path, resp.Status)
		}
	}
}
