package inmemory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// tlsState is how a server speaks TLS, and what it shows.
type tlsState struct {
	mode datastores.TLSMode
	leaf *x509.Certificate // nil when off
}

// takeTLS reads what the server has to show.
func (m *manager) takeTLS() (tlsState, error) {
	t := m.env.ServerTLS()
	if !t.On() {
		return tlsState{mode: datastores.TLSOff}, nil
	}
	text, err := os.ReadFile(t.CertificateFile())
	for block, rest := pem.Decode(text); err == nil && block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			leaf, err := x509.ParseCertificate(block.Bytes)
			return tlsState{t.Mode, leaf}, err
		}
	}
	return tlsState{}, errors.Join(err, errors.New("there is no certificate"))
}

// UseTLS implements [datastores.TLS].
func (m *manager) UseTLS(ctx context.Context) (restart bool, err error) {
	if err := m.enter(ctx, datastores.MethodSSLAction); err != nil {
		return false, err
	}
	taken, err := m.takeTLS()
	if err == nil {
		m.memory.with(m.env.Address, func(s *server) { s.tls = taken })
	}
	return false, err
}

// shows reports whether a client takes the server's certificate.
func (s *server) shows(config *tls.Config) error {
	if s.tls.leaf == nil {
		return errors.New("the server does not speak TLS")
	}
	if _, err := s.tls.leaf.Verify(x509.VerifyOptions{Roots: config.RootCAs, DNSName: config.ServerName}); err != nil {
		return fmt.Errorf("the certificate of the server: %w", err)
	}
	if config.VerifyConnection != nil {
		return config.VerifyConnection(tls.ConnectionState{PeerCertificates: []*x509.Certificate{s.tls.leaf}})
	}
	return nil
}

// ConnectTLS is a [datastoretest.Harness]'s ConnectTLS.
func (m *Datastore) ConnectTLS(_ context.Context, l datastoretest.Login, config *tls.Config) (err error) {
	m.with(l.Address, func(s *server) {
		if err = s.shows(config); err == nil {
			err = s.admit(l)
		}
	})
	return err
}

// checkSource refuses a source whose certificate a replica must not take.
func (m *manager) checkSource(address string) error {
	config, err := m.env.ServerTLS().ToSource(address)
	if err != nil || config == nil {
		return err
	}
	m.memory.with(address, func(s *server) { err = s.shows(config) })
	return err
}
