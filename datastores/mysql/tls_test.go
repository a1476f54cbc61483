package mysql

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// TestTLS has the server's own client check the certificate, as the README has it, and replicas their source's.
func TestTLS(t *testing.T) {
	for name, options := range map[string]func(testing.TB) Options{
		"10.11": func(testing.TB) Options { return oldestOptions() },
		"11.8":  newestOptions,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "11.8" && !datastoretest.InImage(t, image) {
				return
			}
			requireServer(t)
			overTLS(t, options(t))
		})
	}
}

func overTLS(t *testing.T, o Options) {
	ctx := t.Context()
	open := func() (*Manager, *datastoretest.ServerTLS) {
		env := newEnv(t)
		speak := datastoretest.SpeakTLS(&env)
		m := New(env, o)
		stopInTheEnd(t, m)
		return m, speak
	}
	ca, stranger := datastoretest.NewAuthority(t), datastoretest.NewAuthority(t)
	trusted, other := filepath.Join(t.TempDir(), "ca.crt"), filepath.Join(t.TempDir(), "other.crt")
	must(t, os.WriteFile(trusted, ca.PEM(), 0o600))
	must(t, os.WriteFile(other, stranger.PEM(), 0o600))
	m, speaks := open()
	speaks.Set(t, ca, datastores.TLSBasic, false)
	must(t, m.Prepare(ctx, quietly()))
	tenant(t, m)

	ask := func(at *Manager, option ...string) (string, error) {
		argv := append([]string{"--no-defaults", "--host=" + at.env.Address, "--user=ann", "--batch", "--skip-column-names", "--execute=SHOW STATUS LIKE 'Ssl_version'"}, option...)
		cmd := exec.CommandContext(ctx, filepath.Join(o.ToolsDir, "mariadb"), argv...)
		cmd.Env = append(os.Environ(), "MYSQL_PWD=pass")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	const verify = "--ssl-verify-server-cert"
	secure := func(at *Manager) {
		t.Helper()
		if out, err := ask(at, "--ssl-ca="+trusted, verify); err != nil || !strings.Contains(out, "TLSv1.3") {
			t.Errorf("by TLS: %v: %s", err, out)
		}
		if out, err := ask(at, "--ssl-ca="+other, verify); err == nil {
			t.Errorf("a client that trusts another CA is let in: %s", out)
		}
	}
	secure(m)
	if out, err := ask(m, "--skip-ssl"); err != nil || strings.Contains(out, "TLS") {
		t.Errorf("plainly: %v: %s", err, out)
	}

	change := func(m *Manager, speaks *datastoretest.ServerTLS, mode datastores.TLSMode, verify, wantRestart bool) {
		t.Helper()
		speaks.Set(t, ca, mode, verify)
		restart, err := m.UseTLS(ctx)
		if must(t, err); restart != wantRestart {
			t.Errorf("%s takes a restart: %t, want %t", mode, restart, wantRestart)
		}
	}
	replica, following := open()
	following.Set(t, ca, datastores.TLSBasic, true)
	followWith(t, m, replica)
	followsByTLS := func(want string) {
		t.Helper()
		words := m.variant.dialect.words()
		row, err := oneRow(ctx, admin(t, replica), words.status)
		if must(t, err); row[words.sourceTLS] != want || row[words.receiving] == "No" {
			t.Errorf("by TLS %q, receiving %q, want %q", row[words.sourceTLS], row[words.receiving], want)
		}
	}
	followsByTLS("Yes")
	change(m, speaks, datastores.TLSEnforced, false, false)
	if out, err := ask(m, "--skip-ssl"); err == nil {
		t.Errorf("plainly, where TLS is enforced: %s", out)
	}
	secure(m)
	must(t, m.Stop(ctx))
	must(t, m.Start(ctx))
	if out, err := ask(m, "--skip-ssl"); err == nil {
		t.Errorf("plainly, where TLS is enforced, after a restart: %s", out)
	}
	_, err := write(ctx, loginTo(m), 20, 21)
	if err == nil {
		t.Error("a driver is let in plainly")
	}
	must(t, execute(ctx, admin(t, m), "INSERT INTO shop.items VALUES (20, 'by the socket')"))
	caughtUp(t, m, replica)
	secure(replica)
	var dump bytes.Buffer // the guest's own tools go on, by the socket
	_, err = m.dumpStrategy().Backup(ctx, datastores.BackupRequest{Output: &dump, Expect: func(int64) {}})
	must(t, err)
	backupOf(t, m, nil)

	// A replica whose source takes no TLS any more is told so; one that is told while it is stopped follows so when it starts.
	change(m, speaks, datastores.TLSBasic, false, false)
	change(replica, following, datastores.TLSBasic, false, false)
	followsByTLS("No")
	must(t, replica.Stop(ctx))
	following.Set(t, ca, datastores.TLSEnforced, true)
	must(t, replica.Start(ctx))
	followsByTLS("Yes")
	must(t, execute(ctx, admin(t, m), "INSERT INTO shop.items VALUES (21, 'later')"))
	caughtUp(t, m, replica)
	change(m, speaks, datastores.TLSOff, false, true)
	must(t, m.Stop(ctx))
	must(t, m.Start(ctx))
	if out, err := ask(m, "--ssl-ca="+trusted, verify); err == nil && strings.Contains(out, "TLS") {
		t.Errorf("off, and still: %s", out)
	}
}
