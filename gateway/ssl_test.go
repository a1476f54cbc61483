package gateway_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestSSL takes an instance and its replica through every mode. What a client is told to check the server with does that.
func TestSSL(t *testing.T) {
	_, g, _ := start(t)
	c := g.Client(gatewaytest.Member)
	ids, addresses := set(t, c, 1)
	at := gatewaytest.Instance(ids[0]) + "/ssl"
	ssl := func(body string) gatewaytest.Answer {
		return c.Want(t, 200, http.MethodPost, at, `{"ssl":`+body+`}`)
	}
	for _, id := range ids {
		a := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/ssl?include_certificate=true", "")
		if a.Text("ssl", "status") != "on" || a.Text("ssl", "mode") != "basic" || a.Text("ssl", "certificate", "cn") != id {
			t.Errorf("TLS to begin with: %s", a.Body)
		}
		if _, err := time.Parse("2006-01-02T15:04:05.000000", a.Text("ssl", "certificate", "expire_at")); err != nil {
			t.Error(err)
		}
	}
	a := c.Want(t, 200, http.MethodGet, at+"?include_certificate=true", "")
	ca := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(ids[0])+"/ca", "")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca.Text("ca", "certificate")))
	block, _ := pem.Decode([]byte(a.Text("ssl", "certificate", "payload")))
	if block == nil {
		t.Fatalf("no certificate: %s", a.Body)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{addresses[0], ca.Text("ca", "server_name")} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); err != nil {
			t.Errorf("as %s: %v", name, err)
		}
	}
	if plain := c.Want(t, 200, http.MethodGet, at, ""); strings.Contains(string(plain.Body), "BEGIN") {
		t.Errorf("the certificate comes unasked: %s", plain.Body)
	}

	for _, step := range []struct{ body, status, mode string }{
		{`{"enable":true,"mode":"enforced"}`, "on", "enforced"},
		{`{"enable":true,"mode":"enforced"}`, "on", "enforced"},
		{`{"rollback":true}`, "on", "basic"},
		{`{"disable":true}`, "off", ""},
		{`{"enable":true}`, "on", "basic"},
	} {
		if got := ssl(step.body); got.Text("ssl", "status") != step.status {
			t.Errorf("%s: %s", step.body, got.Body)
		}
		for _, id := range ids {
			got := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/ssl", "")
			mode, _ := got.At("ssl", "mode").(string)
			if got.Text("ssl", "status") != step.status || mode != step.mode {
				t.Errorf("%s, then: %s", step.body, got.Body)
			}
		}
	}
	renewed := c.Want(t, 200, http.MethodGet, at+"?include_certificate=true", "").Text("ssl", "certificate", "payload")
	if renewed == a.Text("ssl", "certificate", "payload") {
		t.Error("enable does not renew the certificate")
	}
	for _, body := range []string{
		`{}`, `{"ssl":{}}`, `{"ssl":{"enable":true,"disable":true}}`, `{"ssl":{"enable":true,"mode":"mtls"}}`, `{"ssl":{"enable":true,"mode":"builtin"}}`,
		`{"ssl":{"disable":true,"mode":"basic"}}`, `{"ssl":{"enable":true,"container_ref":"https://barbican/c"}}`, `{"ssl":"on"}`,
	} {
		c.Want(t, 400, http.MethodPost, at, body)
	}
	c.Want(t, 422, http.MethodPost, gatewaytest.Instance(ids[1])+"/ssl", `{"ssl":{"disable":true}}`)
}

// TestSSLOfAllOrNone has a replica that cannot change: the source goes back.
func TestSSLOfAllOrNone(t *testing.T) {
	_, g, host := start(t)
	c := g.Client(gatewaytest.Member)
	ids, addresses := set(t, c, 1)
	host.Memory.Fail(addresses[1], datastores.MethodSSLAction, errors.New("no luck"))
	a := c.Do(t, http.MethodPost, gatewaytest.Instance(ids[0])+"/ssl", `{"ssl":{"disable":true}}`)
	if a.Status < 400 {
		t.Errorf("%d: %s", a.Status, a.Body)
	}
	for _, id := range ids {
		if got := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/ssl", ""); got.Text("ssl", "mode") != "basic" {
			t.Errorf("after a change that failed: %s", got.Body)
		}
	}
}

// TestSSLOfAnEarlierInstance: an instance that was made before its manager could do TLS has it once it takes what its version's definition
// says now; so it does with an upgrade to another version.
func TestSSLOfAnEarlierInstance(t *testing.T) {
	for name, version := range map[string]string{"its own version": "1", "the next version": "2"} {
		t.Run(name, func(t *testing.T) {
			etcd, g, _ := start(t)
			store, c := etcd.Store(t), g.Client(gatewaytest.Member)
			id := c.Create(t, "db", tenant)
			c.Await(t, id, "ACTIVE", soon)
			at, key := gatewaytest.Instance(id), etcdschema.InstanceKey(gatewaytest.Project, id)
			var made etcdschema.Instance
			_, err := store.Update(t.Context(), []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
				rec, err := etcdschema.Read(s, key)
				in := rec.Value
				made = in
				in.Capabilities = slices.DeleteFunc(slices.Clone(in.Capabilities), func(can datastores.Capability) bool { return can == datastores.CanTLS })
				in.Firewall.TCPPorts = []string{"1"}
				return []etcdschema.Op{etcdschema.Put(key, in)}, err
			})
			if err != nil {
				t.Fatal(err)
			}
			c.Want(t, 501, http.MethodGet, at+"/ssl", "")
			c.Want(t, 202, http.MethodPatch, at, `{"instance":{"datastore_version":"`+version+`"}}`)
			c.Await(t, id, "ACTIVE", soon)
			c.Want(t, 200, http.MethodGet, at+"/ssl", "")
			rec, err := etcdschema.Get(t.Context(), store, key)
			if err != nil || !slices.Equal(rec.Value.Firewall.TCPPorts, made.Firewall.TCPPorts) {
				t.Errorf("its ports are %v, want %v; %v", rec.Value.Firewall.TCPPorts, made.Firewall.TCPPorts, err)
			}
			c.Want(t, 202, http.MethodPatch, at, `{"instance":{"datastore_version":"`+version+`"}}`)
			again, err := etcdschema.Get(t.Context(), store, key)
			if err != nil || again.Value.LastEvent != rec.Value.LastEvent {
				t.Errorf("what has it already is told again: %v", err)
			}
		})
	}
}
