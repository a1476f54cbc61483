package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/gateway/authority"
	"github.com/cofferdb/coffer/gateway/keyring"
)

// guarded is a real etcd over TLS that knows its clients by their certificates, with the roles of deployments/etcd-rbac.
type guarded struct{ dir, endpoint string }

func startGuarded(t *testing.T) guarded {
	t.Helper()
	datastoretest.Require(t, "/usr/bin/etcd", "etcd-server")
	datastoretest.Require(t, "/usr/bin/etcdctl", "etcd-client")
	ca, err := authority.New("CA of etcd", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	e := guarded{dir: t.TempDir()}
	write(t, e.file("ca.pem"), ca.PEM())
	for name, usage := range map[string]x509.ExtKeyUsage{
		"server": x509.ExtKeyUsageServerAuth, "root": x509.ExtKeyUsageClientAuth, "coffer-gateway": x509.ExtKeyUsageClientAuth,
		"coffer-operator": x509.ExtKeyUsageClientAuth, "stranger": x509.ExtKeyUsageClientAuth,
	} {
		cert, err := ca.Issue(authority.Request{Name: name, Hosts: []string{"127.0.0.1"}, Usage: []x509.ExtKeyUsage{usage}, From: time.Now(), For: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		write(t, e.file(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}))
		write(t, e.file(name+".key"), keyPEM(t, cert))
	}
	e.endpoint = "https://" + free(t)
	peer := "http://" + free(t)
	server := exec.Command("etcd", "--data-dir", e.file("data"), "--listen-client-urls", e.endpoint, "--advertise-client-urls", e.endpoint,
		"--cert-file", e.file("server.pem"), "--key-file", e.file("server.key"), "--client-cert-auth", "--trusted-ca-file", e.file("ca.pem"),
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	var logs bytes.Buffer
	server.Stderr = &logs
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if t.Failed() {
			t.Logf("etcd:\n%s", logs.String())
		}
	})
	if !until.Holds(30*time.Second, func() bool { return e.run(t, "root", "etcdctl", "endpoint", "health") == nil }) {
		t.Fatal("etcd does not come up")
	}
	for _, line := range [][]string{{"/bin/sh", "-e", "../../../deployments/etcd-rbac/roles.sh"}, {"etcdctl", "auth", "enable"}} {
		if err := e.run(t, "root", line[0], line[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func (e guarded) file(name string) string { return filepath.Join(e.dir, name) }

// run runs a command as a user of etcd; "" has no certificate.
func (e guarded) run(t *testing.T, user, command string, args ...string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command, args...)
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS="+e.endpoint, "ETCDCTL_CACERT="+e.file("ca.pem"), "ETCDCTL_DIAL_TIMEOUT=2s", "ETCDCTL_COMMAND_TIMEOUT=2s")
	if user != "" {
		cmd.Env = append(cmd.Env, "ETCDCTL_CERT="+e.file(user+".pem"), "ETCDCTL_KEY="+e.file(user+".key"))
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return &failed{err, string(out)}
	}
	return nil
}

type failed struct {
	error
	out string
}

func (f *failed) Error() string { return f.error.Error() + "\n" + f.out }

// TestEtcdWithRoles runs a gateway as coffer-gateway; operators define, and read nothing of tenants; nobody else gets in.
func TestEtcdWithRoles(t *testing.T) {
	e := startGuarded(t)
	keys := e.file("keys")
	write(t, keys, []byte(keyring.NewLine()))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	args := []string{"-listen", "127.0.0.1:0", "-data-dir", e.file("gateway"), "-key-file", keys, "-etcd-endpoints", e.endpoint, "-etcd-ca", e.file("ca.pem")}
	var logs bytes.Buffer
	told, ended := newTold(), make(chan error, 1)
	go func() {
		ended <- run(ctx, append(args, "-etcd-cert", e.file("coffer-gateway.pem"), "-etcd-key", e.file("coffer-gateway.key")), told, &logs)
	}()
	select {
	case <-told.serving:
	case err := <-ended:
		t.Fatalf("the gateway: %v\n%s", err, logs.String())
	}
	for _, try := range []struct {
		user, what string
		may        bool
		args       []string
	}{
		{"coffer-operator", "puts a flavor", true, []string{"put", "/server/flavors/9", `{"ram":512,"vcpus":1}`}},
		{"coffer-operator", "reads users", false, []string{"get", "--prefix", "/server/identity/"}},
		{"coffer-operator", "puts a token", false, []string{"put", "/server/identity/tokens/x", "{}"}},
		{"coffer-operator", "puts a command", false, []string{"put", "/guest/commands/x/y", "{}"}},
		{"coffer-gateway", "reads users", true, []string{"get", "--prefix", "/server/identity/"}},
		{"coffer-gateway", "reads what is not Coffer's", false, []string{"get", "/other"}},
		{"coffer-gateway", "ends authentication", false, []string{"auth", "disable"}},
		{"stranger", "reads a flavor", false, []string{"get", "/server/flavors/9"}},
		{"", "reads a flavor", false, []string{"get", "/server/flavors/9"}},
	} {
		if err := e.run(t, try.user, "etcdctl", try.args...); (err == nil) != try.may {
			t.Errorf("%q %s: %v; may: %t", try.user, try.what, err, try.may)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the gateway: %v", err)
	}
	if text := logs.String(); strings.Contains(text, "permission denied") {
		t.Errorf("a right is missing:\n%s", text)
	}
	if err := run(t.Context(), args, newTold(), &logs); err == nil {
		t.Error("a gateway without a certificate starts")
	}
}

// told waits for the line that says that a gateway serves.
type told struct{ serving chan struct{} }

func newTold() told { return told{make(chan struct{}, 1)} }

func (w told) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("serving")) {
		w.serving <- struct{}{}
	}
	return len(b), nil
}

func write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func keyPEM(t *testing.T, cert *tls.Certificate) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// free is an address that is free at present.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
