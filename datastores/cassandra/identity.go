package cassandra

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"time"
)

// identityFile, below Env.Dir, holds a key and the certificate that is its own authority, as PEM. The server shows it to whoever wants
// to be its neighbour, and takes nobody who has another.
const identityFile = "cassandra-identity.pem"

// certificateLife is longer than any server's: nobody but the guest and the server has it.
const certificateLife = 100 * 365 * 24 * time.Hour

func (m *Manager) makeCertificate() error {
	if there, err := m.own.Exists(identityFile); there || err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	identity, err := identityOf(key, m.env.InstanceID)
	if err != nil {
		return err
	}
	return m.own.WriteFile(identityFile, identity)
}

// identityOf is a key, and a certificate of it that is its own authority, as PEM.
func identityOf(key *ecdsa.PrivateKey, name string) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})...), nil
}

// certificateOf is an identity without its key.
func certificateOf(identity []byte) []byte {
	return identity[max(0, bytes.Index(identity, []byte("-----BEGIN CERTIFICATE"))):]
}

// closedTLS is how the guest speaks to a server that is closed to everybody else, and knows it.
func (m *Manager) closedTLS() (*tls.Config, error) {
	identity, err := m.own.ReadFile(identityFile, maxSecret)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(identity, identity)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates:       []tls.Certificate{pair},
		InsecureSkipVerify: true, // its name is nobody's: it must be this very certificate
		VerifyPeerCertificate: func(shown [][]byte, _ [][]*x509.Certificate) error {
			if len(shown) == 0 || !bytes.Equal(shown[0], pair.Certificate[0]) {
				return errors.New("it is not this instance's server")
			}
			return nil
		},
	}, nil
}
