package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/keyring"
)

// certificates returns what to serve with, nil for plain HTTP, and the fingerprints of the CAs that agents pin, if they do.
func certificates(ctx context.Context, cfg config, store *etcdschema.Store, keys *keyring.Keyring, addr net.Addr) (*tls.Config, []string, error) {
	switch {
	case cfg.insecureHTTP:
		return nil, cfg.agentCAs, nil
	case cfg.tlsCert != "":
		c, err := gateway.ReloadingCertificate(cfg.tlsCert, cfg.tlsKey)
		return c, cfg.agentCAs, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cas, err := gateway.OwnAuthorities(ctx, store, keys)
	if err != nil {
		return nil, nil, err
	}
	c, err := gateway.OwnCertificate(cas[0], append(list(cfg.tlsNames), ownNames(addr)...))
	if err != nil {
		return nil, nil, err
	}
	var text []byte
	var fingerprints []string
	for _, ca := range cas {
		text, fingerprints = append(text, ca.PEM()...), append(fingerprints, ca.Fingerprint())
	}
	if err := writeWhole(filepath.Join(cfg.dataDir, "ca.pem"), text); err != nil {
		return nil, nil, fmt.Errorf("cannot write the CA's certificate: %w", err)
	}
	if len(cfg.agentCAs) > 0 {
		return c, cfg.agentCAs, nil
	}
	return c, fingerprints, nil
}

// ownNames are those under which clients may reach an address: the address itself, or all of this machine's when it is none.
func ownNames(addr net.Addr) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return names
	}
	if !tcp.IP.IsUnspecified() {
		return append(names, tcp.IP.String())
	}
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	addrs, _ := net.InterfaceAddrs() // what is not known can be named
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() {
			names = append(names, n.IP.String())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// writeWhole writes a file that everybody may read, whole or not at all.
func writeWhole(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".ca-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(text)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
