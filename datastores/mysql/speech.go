package mysql

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// serverTLS is how the server has to speak TLS. The zero value is: as the server does by itself, which is plainly, or in 11.8 with a
// certificate that it makes at each start. Nobody but tests sets it yet: the capability of managers, and the certificates for it, are
// not there.
type serverTLS struct {
	told         bool
	on, enforced bool
	// verifySource is of a replica: it follows its source by TLS alone, and checks that the certificate is of ca and for the source's address.
	verifySource bool
	certificate  string // the path of the private key, the server's certificate and the CA's, PEM, on the volume
	authority    string // that of the CA's certificate
	ca           []byte // which is this
}

func (m *Manager) serverTLS() serverTLS {
	if m.tls == nil {
		return serverTLS{}
	}
	return m.tls()
}

// toSource is how the guest itself connects to the server of a source at an address. nil: plain.
func (t serverTLS) toSource(address string) (*tls.Config, error) {
	if !t.verifySource {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(t.ca) {
		return nil, errors.New("there is no certificate of a CA to check the source with")
	}
	return &tls.Config{RootCAs: pool, ServerName: address, MinVersion: tls.VersionTLS12}, nil
}
