package agent

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// newTransport makes a transport for one gateway: HTTP/1.1 only, since a poll that is given up must not disturb
// anything else, and with few idle connections, since each costs the gateway memory.
func newTransport(cfg Config, cas []string, gateway *url.URL) *http.Transport {
	t := plainTransport()
	t.DialContext = cfg.Dial
	if len(cas) > 0 {
		t.TLSClientConfig = pinned(cas, gateway.Hostname())
	}
	return t
}

// plainTransport is the one for a pre-signed URL: the same, but with the system's roots, since that is no gateway.
func plainTransport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		Protocols:             protocols,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: 5 * time.Second,
		MaxIdleConnsPerHost:   2,
		IdleConnTimeout:       5 * time.Second,
		DisableCompression:    true,
		ReadBufferSize:        2 << 10,
		WriteBufferSize:       2 << 10,
	}
}

// pinned trusts CAs, known by the hex SHA-256 of their certificates, of which the peer must present one in its chain. The
// standard verification is replaced, not left out: chain, validity, usage and name are checked against that CA. The name is the
// URL's host, or the one that all gateways have: inside a sandbox they have addresses that no certificate knows.
func pinned(cas []string, host string) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection:   func(state tls.ConnectionState) error { return verifyPinned(state.PeerCertificates, cas, host) },
	}
}

func verifyPinned(chain []*x509.Certificate, cas []string, host string) error {
	if len(chain) == 0 {
		return errors.New("the gateway presents no certificate")
	}
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	found := false
	for _, cert := range chain {
		if sum := sha256.Sum256(cert.Raw); slices.Contains(cas, hex.EncodeToString(sum[:])) {
			roots.AddCert(cert)
			found = true
		} else {
			others.AddCert(cert)
		}
	}
	if !found {
		return fmt.Errorf("the gateway's chain of %d certificates does not hold the pinned CA (SHA-256 %s): "+
			"is this the right gateway, and does it send its CA's certificate?", len(chain), strings.Join(cas, " or "))
	}
	if chain[0].VerifyHostname(agentpoll.GatewayName) == nil {
		host = agentpoll.GatewayName
	}
	_, err := chain[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: others})
	return err
}

// pins are the CAs that the agent believes: those of its configuration when that has changed, else those that the gateways named last,
// else those of its token. None: the system's.
func (id *identity) pins() []string {
	id.mu.Lock()
	defer id.mu.Unlock()
	configured, _ := agentpoll.ParseCAs(id.ca) // Validate has read them
	switch {
	case id.ca != id.rec.CA && len(configured) > 0:
		return configured
	case len(id.rec.CAs) > 0:
		return id.rec.CAs
	case len(configured) > 0:
		return configured
	}
	return id.token.CAs
}

// believe keeps what a gateway says of all gateways, with the CA of the configuration that it takes the place of. Over plain HTTP
// anybody might have said it: only the first key of commands is taken so.
func (r *identityRecord) believe(t *agentpoll.Trust, configured string, secure bool) {
	if t == nil {
		return
	}
	if len(t.CAs) > 0 && secure {
		r.CAs, r.CA = t.CAs, configured
	}
	if len(t.CommandKeys) > 0 && (secure || len(r.CommandKeys) == 0) {
		r.CommandKeys = t.CommandKeys
	}
}
