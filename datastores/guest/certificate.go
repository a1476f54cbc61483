package guest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// signer signs certificates: the gateways. Tests bring another.
type signer interface {
	Certificate(ctx context.Context, csr []byte) (agentpoll.CertificateReply, error)
}

// certificate is what the server shows to its clients. It is kept in the guest's own directory, where no tenant's code can change
// it; the server has a copy on its volume.
type certificate struct {
	Certificate []byte `json:"certificate"` // PEM
	Key         []byte `json:"key"`         // PEM
	CA          []byte `json:"ca"`          // PEM

	leaf *x509.Certificate
}

const certificateFile = "tls.json"

// certificates keeps the one certificate that there is.
type certificates struct {
	own volume.Dir

	mu  sync.Mutex
	now *certificate // nil: none yet
}

// openCertificates reads what was kept.
func openCertificates(dir string) (*certificates, error) {
	c := &certificates{own: volume.At(dir)}
	var kept certificate
	if err := c.own.LoadJSON(certificateFile, &kept); err != nil {
		return nil, fmt.Errorf("cannot read the server's certificate: %w", err)
	}
	if kept.parse() == nil {
		c.now = &kept
	}
	return c, nil
}

func (c *certificates) get() *certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// renew makes a key and has a certificate signed for it within a time, and keeps both.
func (c *certificates) renew(ctx context.Context, by signer, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	reply, err := by.Certificate(ctx, csr)
	if err != nil {
		return datastores.Errorf(datastores.Unavailable, "the gateway has not signed a certificate for the server: %v", err)
	}
	next := &certificate{
		Certificate: []byte(reply.Certificate), CA: []byte(reply.CA),
		Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}
	if err = next.parse(); err == nil && !key.PublicKey.Equal(next.leaf.PublicKey) {
		err = errors.New("it is for another key")
	}
	if err != nil {
		return fmt.Errorf("the certificate that the gateway has signed cannot be used: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.own.SaveJSON(certificateFile, next); err != nil {
		return fmt.Errorf("cannot keep the server's certificate: %w", err)
	}
	c.now = next
	return nil
}

// How long a guest waits for a signature: when it was asked to do something, when its server is to start, and while others wait for
// their turn.
const (
	signAsked    = 30 * time.Second
	signStarting = 10 * time.Second
	signBeside   = 5 * time.Second
)

// parse reads the certificate.
func (c *certificate) parse() error {
	block, _ := pem.Decode(c.Certificate)
	if block == nil {
		return errors.New("it is not PEM")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(c.CA) {
		return errors.New("the CA's is not PEM")
	}
	c.leaf = leaf
	return nil
}

// fits reports whether the certificate is this instance's.
func (c *certificate) fits(instanceID string) bool { return c.leaf.Subject.CommonName == instanceID }

// after is the time after which a share of the certificate's life has passed.
func (c *certificate) after(share float64) time.Time {
	life := c.leaf.NotAfter.Sub(c.leaf.NotBefore)
	return c.leaf.NotBefore.Add(time.Duration(share * float64(life)))
}

// told is the certificate as clients are told of it.
func (c *certificate) told() *datastores.SSLCertificate {
	names := slices.Clone(c.leaf.DNSNames)
	for _, ip := range c.leaf.IPAddresses {
		names = append(names, net.IP.String(ip))
	}
	return &datastores.SSLCertificate{
		CN: c.leaf.Subject.CommonName, Expires: c.leaf.NotAfter.UTC(), SAN: names, PEM: string(c.Certificate),
	}
}

// place writes the files that the server reads. What a power cut leaves of them is another text, and the next start writes them anew.
func (c *certificate) place(env datastores.Env) error {
	at := datastores.ServerTLS{Dir: tlsFolder}
	data := volume.Data(env)
	if err := data.MakeDir(tlsFolder); err != nil {
		return err
	}
	return errors.Join(
		writeOther(data, at.AuthorityFile(), c.CA),
		writeOther(data, at.CertificateFile(), slices.Concat(c.Key, c.Certificate, c.CA)),
	)
}

// writeOther writes a file that has not that content: a volume may be full.
func writeOther(d volume.Dir, name string, content []byte) error {
	if has, err := d.ReadFile(name, int64(len(content))+1); err == nil && bytes.Equal(has, content) {
		return nil
	}
	return d.WriteVolatile(name, content)
}

// tlsFolder is below the data directory.
const tlsFolder = "tls"
