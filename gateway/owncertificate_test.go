package gateway

import (
	"crypto/x509"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/authority"
	"github.com/cofferdb/coffer/gateway/keyring"
)

// Gateways that start at once have one CA, whose key is nowhere in clear, and which opens with their key file only.
func TestOwnAuthority(t *testing.T) {
	etcd := etcdtest.Start(t)
	keys, err := keyring.Parse(keyring.NewLine())
	if err != nil {
		t.Fatal(err)
	}
	prints := make([]string, 4)
	var all sync.WaitGroup
	for i := range prints {
		store := etcd.Store(t)
		all.Go(func() {
			cas, err := OwnAuthorities(t.Context(), store, keys)
			if err != nil {
				t.Error(err)
				return
			}
			prints[i] = cas[0].Fingerprint()
		})
	}
	all.Wait()
	for _, p := range prints {
		if p == "" || p != prints[0] {
			t.Errorf("the CAs are %q", prints)
		}
	}
	rec, err := etcdschema.Get(t.Context(), etcd.Store(t), etcdschema.GatewaysAuthorityKey())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := authority.Parse([]byte(rec.Value.Certificate), rec.Value.Sealed); err == nil {
		t.Error("the key is in clear in etcd")
	}
	other, err := keyring.Parse(keyring.NewLine())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OwnAuthorities(t.Context(), etcd.Store(t), other); err == nil {
		t.Error("another key file opens it")
	}
}

// A certificate is replaced long before it expires, while the gateway runs.
func TestOwnCertificateIsRenewed(t *testing.T) {
	ca, err := authority.New("ca", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	o := &own{ca: ca, names: []string{"gateway.example", "192.0.2.1", agentpoll.GatewayName}, now: func() time.Time { return now }}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM())
	serials := map[string]bool{}
	for range 90 { // days
		cert, err := o.current()
		if err != nil {
			t.Fatal(err)
		}
		serials[cert.Leaf.SerialNumber.String()] = true
		for _, name := range o.names {
			if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now.Add(9 * 24 * time.Hour)}); err != nil {
				t.Fatalf("%s, nine days after %s: %v", name, now, err)
			}
		}
		now = now.Add(24 * time.Hour)
	}
	if len(serials) != 5 {
		t.Errorf("%d certificates in 90 days, want 5", len(serials))
	}
}

// The gateways' own CA goes on when the key file is rotated.
func TestResealKeepsTheAuthority(t *testing.T) {
	store := etcdtest.New(t)
	first, second := keyring.NewLine(), keyring.NewLine()
	ring := func(text string) *keyring.Keyring {
		t.Helper()
		keys, err := keyring.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	before, err := OwnAuthorities(t.Context(), store, ring(first))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := keyring.Reseal(t.Context(), store, ring(second+first)); n != 1 || err != nil {
		t.Fatalf("%d records, %v", n, err)
	}
	after, err := OwnAuthorities(t.Context(), store, ring(second))
	if err != nil || string(after[0].PEM()) != string(before[0].PEM()) {
		t.Errorf("another CA: %v", err)
	}
}
