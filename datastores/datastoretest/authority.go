package datastoretest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// Authority is a CA for tests, as a project has one.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes one.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "CA of a test"}, KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	a.cert, a.key = a.sign(t, template)
	return a
}

// PEM is its certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Client trusts certificates of the authority alone, for an address.
func (a *Authority) Client(address string) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, ServerName: address, MinVersion: tls.VersionTLS12}
}

// Sign signs a server's certificate for a key of somebody else's, that is good for life, most of which has passed when it is an hour
// or less.
func (a *Authority) Sign(key crypto.PublicKey, instanceID, address string, life time.Duration) ([]byte, error) {
	template := serverTemplate(instanceID, address)
	template.SerialNumber, _ = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	template.NotBefore = time.Now().Add(-time.Minute)
	if life <= time.Hour {
		template.NotBefore = time.Now().Add(-life)
		template.NotAfter = time.Now().Add(life / 10)
	} else {
		template.NotAfter = time.Now().Add(life)
	}
	return x509.CreateCertificate(rand.Reader, template, a.cert, key, a.key)
}

func serverTemplate(instanceID, address string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: instanceID}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames: []string{datastores.ServerName(instanceID)}, IPAddresses: []net.IP{net.ParseIP(address)},
	}
}

// sign makes a key and a certificate for it. The first is the authority's own.
func (a *Authority) sign(t testing.TB, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, _ = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(24*time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// ServerTLS is the [datastores.Env].TLS of one server under test, and does with its files what the guest runtime does.
type ServerTLS struct {
	env datastores.Env

	mu   sync.Mutex
	now  datastores.ServerTLS
	leaf *x509.Certificate
}

// SpeakTLS gives env a TLS that can be changed. At first it is off.
func SpeakTLS(env *datastores.Env) *ServerTLS {
	s := &ServerTLS{env: *env}
	env.TLS = func() datastores.ServerTLS {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.now
	}
	return s
}

// Set changes how the server has to speak TLS, with a new certificate of ca. Its manager has to be told.
func (s *ServerTLS) Set(t testing.TB, ca *Authority, mode datastores.TLSMode, verifySource bool) {
	t.Helper()
	leaf, key := ca.sign(t, serverTemplate(s.env.InstanceID, s.env.Address))
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	next := datastores.ServerTLS{Mode: mode, VerifySource: verifySource, Dir: filepath.Join(s.env.DataDir, "tls"), CA: ca.PEM()}
	text := slices.Concat(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}), ca.PEM())
	for _, err := range []error{
		os.MkdirAll(next.Dir, 0o700),
		os.WriteFile(next.CertificateFile(), text, 0o600),
		os.WriteFile(next.AuthorityFile(), ca.PEM(), 0o600),
		os.Lchown(next.Dir, s.env.UID, s.env.GID),
		os.Lchown(next.CertificateFile(), s.env.UID, s.env.GID),
		os.Lchown(next.AuthorityFile(), s.env.UID, s.env.GID),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.leaf = next, leaf
}
