package gatewaytest_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// clientTimeout ends a client that nobody answers.
const clientTimeout = 30 * time.Second

// testSSL connects with Debian's own clients, which check the server with the CA that they are told, to a server that takes TLS and then
// to one that takes nothing else.
func testSSL(t *testing.T, s *stage) {
	for _, d := range []datastore{postgresqlStore, mariadbStore, redisStore} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			_, id, address := s.create(t, d, d.tenantPart())
			at := gatewaytest.Instance(id)
			password := "s3cret of bob"
			if d == redisStore {
				password = s.member.Want(t, http.StatusOK, http.MethodPost, at+"/root", "{}").Text("user", "password")
				s.secrets.know("root's password of a Redis", password)
			}
			other := s.outsider(t)
			client := func(ca string, secure bool) (string, error) {
				file := filepath.Join(t.TempDir(), "ca.pem")
				if err := os.WriteFile(file, []byte(ca), 0o600); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), clientTimeout)
				defer cancel()
				cmd := d.client(ctx, address, file, secure)
				cmd.Env = append(os.Environ(), "PGPASSWORD="+password, "MYSQL_PWD="+password, "REDISCLI_AUTH="+password)
				out, err := cmd.CombinedOutput()
				if d == redisStore && err == nil && !strings.Contains(string(out), "PONG") { // redis-cli ends with 0 all the same
					return string(out), os.ErrPermission
				}
				return string(out), err
			}
			ca := s.member.Want(t, http.StatusOK, http.MethodGet, at+"/ca", "").Text("ca", "certificate")
			if out, err := client(ca, true); err != nil {
				t.Errorf("by TLS: %v: %s", err, out)
			}
			if out, err := client(other, true); err == nil {
				t.Errorf("another's CA does as well: %s", out)
			}
			if out, err := client(ca, false); err != nil {
				t.Errorf("without TLS: %v: %s", err, out)
			}
			s.member.Want(t, http.StatusOK, http.MethodPost, at+"/ssl", `{"ssl":{"enable":true,"mode":"enforced"}}`)
			if out, err := client(ca, true); err != nil {
				t.Errorf("enforced, by TLS: %v: %s", err, out)
			}
			if out, err := client(ca, false); err == nil {
				t.Errorf("enforced, without TLS: %s", out)
			}
		})
	}
}

// outsider is the CA of nobody whom these gateways know.
func (s *stage) outsider(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=outsider",
		"-keyout", filepath.Join(dir, "key.pem"), "-out", filepath.Join(dir, "ca.pem")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// client is Debian's, as README has it.
func (d datastore) client(ctx context.Context, address, ca string, secure bool) *exec.Cmd {
	switch d {
	case postgresqlStore:
		how := " sslmode=disable"
		if secure {
			how = " sslmode=verify-full sslrootcert=" + ca
		}
		return exec.CommandContext(ctx, "/usr/bin/psql", "host="+address+" user=bob dbname=orders connect_timeout=10"+how, "-c", "SELECT 1")
	case mariadbStore:
		how := []string{"--skip-ssl"}
		if secure {
			how = []string{"--ssl-ca=" + ca, "--ssl-verify-server-cert"}
		}
		return exec.CommandContext(ctx, "/usr/bin/mariadb", append([]string{"--no-defaults", "-h", address, "-u", "bob", "-e", "SELECT 1", "orders"}, how...)...)
	}
	how := []string{"-h", address}
	if secure {
		how = append(how, "-p", "6380", "--tls", "--cacert", ca)
	}
	return exec.CommandContext(ctx, "/usr/bin/redis-cli", append(how, "PING")...)
}
