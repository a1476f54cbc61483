package mongodb

import (
	"context"
	"crypto/tls"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
)

// tlsFile tells how the running server was started, below Env.Dir.
const tlsFile = "mongodb-tls.json"

// The modes of net.tls.mode. In the first two a member connects to others without TLS, in the others by it.
const (
	tlsDisabled = "disabled"
	tlsAllowed  = "allowTLS"
	tlsPrefers  = "preferTLS"
	tlsRequires = "requireTLS"
)

// speech is how a server speaks TLS.
type speech struct {
	Mode        string `json:"mode"`
	Certificate string `json:"certificate,omitempty"` // files
	Authority   string `json:"authority,omitempty"`
}

// wantedTLS is how the server shall speak TLS. A replica that has to check its source takes TLS itself: mongod knows no other way. Members of a cluster that
// take TLS speak it to each other.
func (m *Manager) wantedTLS() speech {
	t := m.env.ServerTLS()
	s := speech{Mode: tlsDisabled}
	switch {
	case t.Enforced():
		s.Mode = tlsRequires
	case t.VerifySource || t.On() && m.isMember():
		s.Mode = tlsPrefers
	case t.On():
		s.Mode = tlsAllowed
	default:
		return s
	}
	s.Certificate, s.Authority = t.CertificateFile(), t.AuthorityFile()
	return s
}

func (s speech) settings() map[string]any {
	settings := map[string]any{"net.tls.mode": s.Mode}
	if s.Mode != tlsDisabled {
		settings["net.tls.certificateKeyFile"] = s.Certificate
		settings["net.tls.CAFile"] = s.Authority
		settings["net.tls.allowConnectionsWithoutCertificates"] = true // clients show a password
	}
	return settings
}

func (m *Manager) spokenTLS() (s speech, err error) {
	err = m.own.LoadJSON(tlsFile, &s)
	return s, err
}

// local is how the guest itself speaks to its server. By the local socket it knows whom it speaks to, see [volume.Dir.Dial]; TLS is only what the
// server insists on, and its certificate may be about to be renewed.
func (m *Manager) local() (*tls.Config, error) {
	s, err := m.spokenTLS()
	if err != nil || s.Mode != tlsRequires {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}, nil //nolint:gosec // see above
}

// UseTLS implements [datastores.TLS]. New files are read at once, another mode takes a restart.
func (m *Manager) UseTLS(ctx context.Context) (restart bool, err error) {
	now, err := m.spokenTLS()
	if err != nil {
		return false, err
	}
	if wanted := m.wantedTLS(); now != wanted {
		return true, nil
	}
	if now.Mode == tlsDisabled {
		return false, nil
	}
	return false, m.talk(ctx, func(c *opmsg.Client) error {
		_, err := c.Call(ctx, adminDatabase, bson.D{{Key: "rotateCertificates", Value: 1}})
		return err
	})
}

var _ datastores.TLS = (*Manager)(nil)
