package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// authority is a CA.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func issue(t *testing.T, by *authority, name string, ip net.IP, isCA bool, names ...string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: names, IsCA: isCA, BasicConstraintsValid: true,
	}
	if ip != nil {
		template.IPAddresses = []net.IP{ip}
	}
	if by == nil {
		by = &authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func (a *authority) pin() string {
	sum := sha256.Sum256(a.cert.Raw)
	return hex.EncodeToString(sum[:])
}

func TestPin(t *testing.T) {
	loopback, other := net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 9)
	ca, stranger := issue(t, nil, "ca", nil, true), issue(t, nil, "ca", nil, true)
	middle := issue(t, ca, "middle", nil, true)
	leaf, wrongName := issue(t, middle, "gateway", loopback, false), issue(t, middle, "gateway", other, false)
	anywhere := issue(t, ca, "gateway", other, false, agentpoll.GatewayName)
	elsewhere := issue(t, stranger, "gateway", other, false, agentpoll.GatewayName)
	alone := issue(t, nil, "gateway", loopback, false)
	forged := issue(t, stranger, "gateway", loopback, false)

	for name, c := range map[string]struct {
		chain []*authority
		pin   string
		want  string // part of the error; "" when it is to work
	}{
		"pinned":             {[]*authority{leaf, middle, ca}, ca.pin(), ""},
		"in any order":       {[]*authority{leaf, ca, middle}, ca.pin(), ""},
		"pinned below":       {[]*authority{leaf, middle}, middle.pin(), ""},
		"self-signed":        {[]*authority{alone}, alone.pin(), ""},
		"CA not sent":        {[]*authority{leaf, middle}, ca.pin(), "does not hold the pinned CA"},
		"another CA":         {[]*authority{leaf, middle, ca}, stranger.pin(), "does not hold the pinned CA"},
		"pin shown, not by":  {[]*authority{forged, stranger, ca}, ca.pin(), "unknown authority"},
		"any address":        {[]*authority{anywhere, ca}, ca.pin(), ""},
		"the name alone":     {[]*authority{elsewhere, stranger, ca}, ca.pin(), "unknown authority"},
		"another host":       {[]*authority{wrongName, middle, ca}, ca.pin(), "127.0.0.1"},
		"a leaf is not a CA": {[]*authority{issue(t, alone, "x", loopback, false), alone}, alone.pin(), "x509"},
	} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != 1 {
				t.Errorf("%s: %s", name, r.Proto)
			}
		}))
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		cert := tls.Certificate{PrivateKey: c.chain[0].key}
		for _, a := range c.chain {
			cert.Certificate = append(cert.Certificate, a.cert.Raw)
		}
		server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		server.EnableHTTP2 = true
		server.StartTLS()
		base, _ := url.Parse(server.URL)
		transport := newTransport(Config{}, []string{strings.Repeat("0", 64), c.pin}, base)
		resp, err := (&http.Client{Transport: transport}).Get(server.URL)
		if err == nil {
			_ = resp.Body.Close()
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		transport.CloseIdleConnections()
		server.Close()
	}
}
