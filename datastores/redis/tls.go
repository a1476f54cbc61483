package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
)

// tlsPort is where the server takes TLS, whatever its mode: a replica finds it there before and after plain connections
// are refused.
const tlsPort = 6380

// listening are the settings of where the server takes whom, and of how it follows a source by TLS. The server checks
// that the CA has signed the certificate of its source, and never whose it is: the guest does, each time that it asks
// the source.
func (m *Manager) listening() [][]string {
	t := m.env.ServerTLS()
	plainly, secure, follow := port, 0, "no"
	if t.On() {
		secure = tlsPort
	}
	if t.Enforced() {
		plainly = 0
	}
	if t.VerifySource || t.On() && m.isMember() {
		follow = "yes"
	}
	settings := [][]string{
		{"port", strconv.Itoa(plainly)},
		{"tls-port", strconv.Itoa(secure)},
		{"tls-replication", follow},
		{"tls-auth-clients", "no"}, // a client shows a password and no certificate
	}
	if t.On() || t.VerifySource {
		settings = append(settings,
			[]string{"tls-cert-file", t.CertificateFile()},
			[]string{"tls-key-file", t.CertificateFile()},
			[]string{"tls-ca-cert-file", t.AuthorityFile()},
		)
	}
	return settings
}

// listen has the running server listen as it should now. It takes all of that or nothing, and reads its files again.
func (m *Manager) listen(ctx context.Context) error {
	set := append([]string{"CONFIG", "SET"}, slices.Concat(m.listening()...)...)
	if err := m.call(ctx, set); err != nil {
		return fmt.Errorf("cannot change how the server speaks TLS: %w", err)
	}
	return nil
}

// replicaOf is the command to follow a source. It changes nothing of a replica that does so already.
func (m *Manager) replicaOf(from source) []string {
	return append([]string{"REPLICAOF"}, m.placeOf(from)...)
}

// placeOf is the address and the port where a replica looks for its source: one where nobody listens, when it is fenced.
func (m *Manager) placeOf(from source) []string {
	if from.Fenced {
		return []string{"127.0.0.1", "1"}
	}
	return []string{from.Address, strconv.Itoa(m.sourcePort())}
}

func (m *Manager) sourcePort() int {
	if m.env.ServerTLS().VerifySource {
		return tlsPort
	}
	return port
}

// UseTLS implements [datastores.TLS].
func (m *Manager) UseTLS(ctx context.Context) (restart bool, err error) {
	st, err := m.loadSide()
	if err != nil {
		return false, err
	}
	if err := m.listen(ctx); err != nil || st.Source == nil {
		return false, err
	}
	return false, m.call(ctx, m.replicaOf(*st.Source))
}
