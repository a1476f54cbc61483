package datastores

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"path/filepath"
	"time"
)

// TLS is implemented by a manager whose server can speak TLS. The guest runtime makes the key, has the gateway sign the
// certificate, and keeps both in files that the server can read, see [ServerTLS]; it renews them before they expire. The manager
// tells its server to use them.
type TLS interface {
	// UseTLS has the running server do as [Env.ServerTLS] says now: the mode may be another, and the files may be new. Connections
	// that are open may go on. It is not called while the server is stopped: whatever starts the server asks Env.ServerTLS, too.
	// restart reports whether the server does as before until it is restarted. After an error UseTLS is
	// called once more, when Env.ServerTLS says again what it said before.
	UseTLS(ctx context.Context) (restart bool, err error)
}

// TLSMode says how a server speaks TLS, in Trove's words.
type TLSMode string

const (
	TLSOff      TLSMode = "off"
	TLSBasic    TLSMode = "basic"    // it takes TLS, and plain connections too
	TLSEnforced TLSMode = "enforced" // it takes TLS alone, but for the guest's own socket
	TLSBuiltin  TLSMode = "builtin"  // Trove's: a certificate that the server has made itself. There is no such thing here
	TLSMutual   TLSMode = "mtls"     // Trove's: clients show certificates. There is no such thing here
)

// On reports whether a server of that mode takes TLS.
func (m TLSMode) On() bool { return m == TLSBasic || m == TLSEnforced }

// ServerTLS is how a server has to speak TLS. The zero value is: not at all.
type ServerTLS struct {
	Mode TLSMode // TLSOff or "": not at all
	// VerifySource is of a replica: it follows its source by TLS alone, and checks that the certificate is of CA and for the
	// source's address.
	VerifySource bool
	// Dir is where the server finds its files, by an absolute path on the volume. They are the server's user's, 0600. They are
	// there when the server has to speak TLS or to follow its source by it.
	Dir string
	// CA is the certificate of the project's CA, PEM: for connections of the guest itself to another server.
	CA []byte
}

// Names of the files in [ServerTLS.Dir].
const (
	certificateName = "server.pem"
	authorityName   = "ca.crt"
)

// On reports whether the server takes TLS.
func (t ServerTLS) On() bool { return t.Mode.On() }

// Enforced reports whether the server takes nothing but TLS.
func (t ServerTLS) Enforced() bool { return t.Mode == TLSEnforced }

// CertificateFile is the path of the private key, the server's certificate and the CA's, PEM: one file, so that a server never
// finds the key of another certificate.
func (t ServerTLS) CertificateFile() string { return filepath.Join(t.Dir, certificateName) }

// AuthorityFile is the path of the CA's certificate, PEM.
func (t ServerTLS) AuthorityFile() string { return filepath.Join(t.Dir, authorityName) }

// ToSource is how the guest itself connects to the server of a source at an address. nil: plain.
func (t ServerTLS) ToSource(address string) (*tls.Config, error) {
	if !t.VerifySource {
		return nil, nil
	}
	return t.ToServer(address)
}

// ToServer is how the guest itself connects to a server of its project, by TLS. The server's certificate must have the name, which may be
// an address.
func (t ServerTLS) ToServer(name string) (*tls.Config, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(t.CA) {
		return nil, errors.New("there is no certificate of a CA to check the server with")
	}
	return &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS12}, nil
}

// ServerTLS asks [Env.TLS] how the server has to speak TLS now.
func (e Env) ServerTLS() ServerTLS {
	if e.TLS == nil {
		return ServerTLS{}
	}
	return e.TLS()
}

// SSLArgs change how a server speaks TLS: enable or disable it.
type SSLArgs struct {
	Enable bool    `json:"enable,omitempty"`
	Mode   TLSMode `json:"mode,omitempty"` // of enable; "": basic, or what the definition requires
	// Source is of a replica: whether its source takes TLS, so that it follows it by that alone.
	Source bool `json:"source,omitempty"`
}

// SSLReply tells how a server speaks TLS.
type SSLReply struct {
	Mode            TLSMode         `json:"mode"`
	RestartRequired bool            `json:"restart_required,omitempty"`
	Certificate     *SSLCertificate `json:"certificate,omitempty"`
}

// SSLCertificate is the certificate of a server.
type SSLCertificate struct {
	CN      string    `json:"cn"`
	Expires time.Time `json:"expires"`
	SAN     []string  `json:"san,omitempty"`
	PEM     string    `json:"pem"`
}

// ServerName is a DNS name in the certificate of an instance's server. Nobody resolves it: it is for clients that cannot check an
// address, or come to the server by another one than the gateway knows.
func ServerName(instanceID string) string { return instanceID + ".instance.coffer.internal" }
