package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/authority"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/keyring"
)

// OwnAuthorities returns the gateways' own CAs: the one that signs their certificates, and while another takes its place that one,
// too. The first gateway that looks makes one; their keys are in etcd, sealed with the key file that all gateways have.
func OwnAuthorities(ctx context.Context, store *etcdschema.Store, keys *keyring.Keyring) (cas []*authority.Authority, err error) {
	signs, err := control.AuthorityAt(ctx, store, keys, etcdschema.GatewaysAuthorityKey(), "Coffer gateways")
	if err != nil {
		return nil, fmt.Errorf("cannot have the gateways' own CA: %w", err)
	}
	key := etcdschema.OtherGatewaysAuthorityKey()
	rec, err := etcdschema.Get(ctx, store, key)
	if errors.Is(err, etcdschema.ErrNotFound) {
		return []*authority.Authority{signs}, nil
	}
	var other *authority.Authority
	if err == nil {
		other, err = control.OpenAuthority(keys, key, rec.Value)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot have the gateways' other CA: %w", err)
	}
	return []*authority.Authority{signs, other}, nil
}

const (
	ownLifetime = 30 * 24 * time.Hour // of a gateway's certificate
	ownRenewal  = 20 * 24 * time.Hour // after which it makes the next one
)

// OwnCertificate serves certificates of the gateways' own CA for names, DNS names and addresses, and for
// [agentpoll.GatewayName]. They live in memory, and are made anew before they expire.
func OwnCertificate(ca *authority.Authority, names []string) (*tls.Config, error) {
	o := &own{ca: ca, names: append(slices.Clone(names), agentpoll.GatewayName), now: time.Now}
	if _, err := o.current(); err != nil {
		return nil, fmt.Errorf("cannot make a certificate: %w", err)
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"}, // a parked poll is a connection, not a stream
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return o.current() },
	}, nil
}

// own is a gateway's certificate of the gateways' own CA.
type own struct {
	ca    *authority.Authority
	names []string
	now   func() time.Time

	mu   sync.Mutex
	cert *tls.Certificate
	made time.Time
}

func (o *own) current() (*tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	if o.cert != nil && now.Sub(o.made) < ownRenewal {
		return o.cert, nil
	}
	cert, err := o.ca.Issue(authority.Request{
		Name: "Coffer gateway", Hosts: o.names, Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, From: now, For: ownLifetime,
	})
	if err != nil {
		return nil, err
	}
	o.cert, o.made = cert, now
	return cert, nil
}
