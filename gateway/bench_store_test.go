package gateway_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestBenchManyInstances measures a gateway over 100,000 stored instances: how long until it is ready, and a list of 20
// and a show beside the etcd reads behind them: bare ones, and each in a bare exchange of HTTP.
func TestBenchManyInstances(t *testing.T) {
	bench(t)
	const instances, batch = 100_000, 100
	endpoint := durable(t)
	store := etcdtest.Open(t, endpoint)
	id := func(i int) string { return fmt.Sprintf("00000000-0000-7000-8000-%012d", i) }
	for at := 0; at < instances; at += batch {
		_, err := store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
			var ops []etcdschema.Op
			for i := at; i < at+batch; i++ {
				ops = append(ops, etcdschema.Put(etcdschema.InstanceKey(gatewaytest.Project, id(i)), etcdschema.Instance{
					ID: id(i), Project: gatewaytest.Project, Name: fmt.Sprintf("db%d", i), Datastore: "mariadb", Version: "10.11",
					Manager: "mysql", FlavorID: "1", VolumeGB: 1, Prepared: true, Created: time.Now(), Updated: time.Now(),
					Address: "10.0.0.1", Service: datastores.Status{Service: datastores.StatusHealthy},
				}))
			}
			return ops, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}

	var cold sample
	var g *gatewaytest.Gateway
	for range 5 {
		if g != nil {
			g.Stop(t)
		}
		began := time.Now()
		g = gatewaytest.Start(t, etcdtest.Open(t, endpoint))
		if err := get(http.DefaultClient, g.URL+"/readyz", ""); err != nil {
			t.Fatal(err)
		}
		cold = append(cold, time.Since(began))
	}
	t.Logf("cold start over %d instances until ready: %s (bar 300 ms)", instances, cold)

	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	prefix := etcdschema.Instances(gatewaytest.Project).String()
	here := gatewaytest.Guests(t, store, 1, g.URL)[0]
	client := clients(1)[0]
	base := g.URL + "/v1.0/" + gatewaytest.Project
	for _, c := range []struct {
		what string
		url  string
		read func() (*clientv3.GetResponse, error)
	}{
		{"list 20", base + "/instances?marker=" + id(50_000), func() (*clientv3.GetResponse, error) {
			return etcd.Get(t.Context(), prefix+id(50_000), clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithLimit(20))
		}},
		{"show one", base + "/instances/" + here, func() (*clientv3.GetResponse, error) {
			return etcd.Get(t.Context(), prefix+here)
		}},
		{"show one whose guest has never polled", base + "/instances/" + id(50_000), func() (*clientv3.GetResponse, error) {
			return etcd.Get(t.Context(), prefix+id(50_000))
		}},
	} {
		bare := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			resp, err := c.read()
			if err != nil {
				t.Error(err)
				return
			}
			for _, kv := range resp.Kvs {
				_, _ = w.Write(kv.Value)
			}
		}))
		var ours, exchange, read sample
		for range 10 {
			o, _ := load(t, 100, 1, func(int) error { return get(client, c.url, gatewaytest.Member) })
			e, _ := load(t, 100, 1, func(int) error { return get(client, bare.URL, "") })
			r, _ := load(t, 100, 1, func(int) error { _, err := c.read(); return err })
			ours, exchange, read = append(ours, o...), append(exchange, e...), append(read, r...)
		}
		bare.Close()
		t.Logf("%s of %d: ours %s; the etcd read in a bare exchange %s, alone %s; ratio p50 %.2f and %.2f (bar 1.5)", c.what, instances, ours, exchange, read,
			float64(ours.at(0.5))/float64(exchange.at(0.5)), float64(ours.at(0.5))/float64(read.at(0.5)))
	}
}
