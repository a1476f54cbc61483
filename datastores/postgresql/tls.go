package postgresql

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
)

// tlsSettings are those of how the server speaks TLS. Whether it takes anything else is in the rules of access.
func (m *Manager) tlsSettings() map[string]string {
	t := m.env.ServerTLS()
	if !t.On() {
		return map[string]string{"ssl": "off"}
	}
	return map[string]string{
		"ssl": "on", "ssl_cert_file": t.CertificateFile(), "ssl_key_file": t.CertificateFile(), "ssl_min_protocol_version": "TLSv1.2",
	}
}

// UseTLS implements [datastores.TLS]. A reload is enough: the server reads its files again, and a replica connects anew.
func (m *Manager) UseTLS(ctx context.Context) (restart bool, err error) {
	if err := m.writeRules(); err != nil {
		return false, err
	}
	if err := m.reload(ctx); err != nil {
		return false, err
	}
	if t := m.env.ServerTLS(); t.On() {
		return false, m.greet(ctx, t)
	}
	return false, nil
}

// sslRequest asks a server for TLS before anything else is said.
var sslRequest = []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}

// greet reports, as a client of the network would find out, why the server does not speak TLS: after a reload it does as before
// when it cannot read its files, and says so in its log alone.
func (m *Manager) greet(ctx context.Context, t datastores.ServerTLS) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	fail := func(err error) error { return fmt.Errorf("the server does not speak TLS: %w", err) }
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(m.env.Address, strconv.Itoa(port)))
	if err != nil {
		return fail(err)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	answer := make([]byte, 1)
	if _, err = conn.Write(sslRequest); err == nil {
		_, err = conn.Read(answer)
	}
	if err == nil && answer[0] != 'S' {
		err = errors.New("it refuses to")
	}
	if err != nil {
		return fail(err)
	}
	config, err := t.ToServer(datastores.ServerName(m.env.InstanceID))
	if err == nil {
		err = tls.Client(conn, config).HandshakeContext(ctx)
	}
	if err != nil {
		return fail(err)
	}
	return nil
}
