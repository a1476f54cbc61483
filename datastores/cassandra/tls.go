package cassandra

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
)

const clientsSetting = "client_encryption_options"

// clients is how the port of clients is to be: closed to all but the guest, or as the instance speaks TLS.
func (m *Manager) clients(closed bool) map[string]any {
	if closed {
		return with(m.mutual(certFile, trustFile), "enabled", true)
	}
	t := m.env.ServerTLS()
	if !t.On() {
		return map[string]any{"enabled": false}
	}
	return map[string]any{
		"enabled": true, "optional": !t.Enforced(), "require_client_auth": false, "keystore": t.CertificateFile(), "truststore": t.AuthorityFile(),
		"ssl_context_factory": map[string]any{"class_name": pemFactory},
	}
}

// runningClients is how the port of clients is since the server was started.
func (m *Manager) runningClients() (is map[string]any, err error) {
	yaml, err := m.data.ReadFile(yamlFile, maxYAML)
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(yaml) {
		if value, ok := bytes.CutPrefix(line, []byte(clientsSetting+": ")); ok {
			err := json.Unmarshal(value, &is)
			return is, err
		}
	}
	return nil, errors.New("the server's configuration lacks " + clientsSetting)
}

// ownTLS is how the guest speaks to its own server, which may still do as it was told before. nil: plainly.
func (m *Manager) ownTLS() (*tls.Config, error) {
	is, err := m.runningClients()
	if err != nil || is["enabled"] != true || is["optional"] == true {
		return nil, err
	}
	return m.env.ServerTLS().ToServer(m.env.Address)
}

// memberTLS is how the guest speaks to another member's server: all members of a ring take TLS, or none.
func (m *Manager) memberTLS(address string) (*tls.Config, error) {
	if t := m.env.ServerTLS(); t.On() {
		return t.ToServer(address)
	}
	return nil, nil
}

// UseTLS implements [datastores.TLS]. The server reads new files when it is asked to, and a new mode when it starts.
func (m *Manager) UseTLS(ctx context.Context) (restart bool, err error) {
	is, err := m.runningClients()
	if err != nil {
		return false, fmt.Errorf("cannot find out how the server speaks TLS: %w", err)
	}
	in, err := m.loadMember()
	if err != nil {
		return false, err
	}
	if want := m.clients(in.isOut()); !maps.EqualFunc(is, want, func(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
		return true, nil
	}
	if is["enabled"] != true || in.isOut() {
		return false, nil
	}
	return false, m.nodetool(ctx, "reloadssl")
}
