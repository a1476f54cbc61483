package mysql

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// authority is a CA, as a project is to have one.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.cert, a.key = a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "CA of a test"}, KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	})
	return a
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// sign makes a key and a certificate for it. The first is the authority's own.
func (a *authority) sign(t *testing.T, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Minute), time.Now().Add(24*time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return cert, key
}

// The ways to speak.
const (
	off = iota
	basic
	enforced
)

// speech is what a manager is told of TLS, and can be changed.
type speech struct {
	m   *Manager
	now atomic.Pointer[serverTLS]
}

func speakTLS(m *Manager) *speech {
	s := &speech{m: m}
	s.now.Store(&serverTLS{})
	m.tls = func() serverTLS { return *s.now.Load() }
	return s
}

// set changes how the server has to speak, with a new certificate of ca. Its manager has to be told.
func (s *speech) set(t *testing.T, ca *authority, mode int, verifySource bool) {
	t.Helper()
	leaf, key := ca.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: s.m.env.InstanceID}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.ParseIP(s.m.env.Address)},
	})
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	dir := s.m.path("tls")
	next := serverTLS{
		told: true, on: mode != off, enforced: mode == enforced, verifySource: verifySource,
		certificate: dir + "/server.pem", authority: dir + "/ca.crt", ca: ca.pem(),
	}
	must(t, os.MkdirAll(dir, 0o700))
	must(t, os.WriteFile(next.certificate, slices.Concat(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}), ca.pem()), 0o600))
	must(t, os.WriteFile(next.authority, ca.pem(), 0o600))
	for _, path := range []string{dir, next.certificate, next.authority} {
		must(t, os.Lchown(path, s.m.env.UID, s.m.env.GID))
	}
	s.now.Store(&next)
}
