package redis

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// placeTLS is place for a server that can be told to speak TLS.
func placeTLS(t *testing.T, o Options) (*Manager, *datastoretest.ServerTLS) {
	t.Helper()
	m := place(t, o)
	secure := datastoretest.SpeakTLS(&m.env)
	return m, secure
}

func useTLS(t *testing.T, m *Manager) {
	t.Helper()
	restart, err := m.UseTLS(t.Context())
	must(t, err)
	if restart {
		t.Error("the server wants a restart")
	}
}

// cli asks a server as docs/datastores.md has it.
func cli(t *testing.T, o Options, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), strings.TrimSuffix(o.Program, "-server")+"-cli", args...)
	cmd.Env = []string{"REDISCLI_AUTH=" + rootPassword}
	b, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(b)), err
}

// TestCommandLineClient logs in with the server's own client, plainly and by TLS.
func TestCommandLineClient(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		m, secure := placeTLS(t, o)
		ca, stranger := datastoretest.NewAuthority(t), datastoretest.NewAuthority(t)
		secure.Set(t, ca, datastores.TLSBasic, false)
		must(t, m.Prepare(t.Context(), datastores.PrepareRequest{Progress: func(string) {}}))
		open(t, m)
		trusted := m.env.ServerTLS().AuthorityFile()
		try := func(mode datastores.TLSMode, plainly bool) {
			t.Helper()
			by := []string{"-h", m.env.Address, "-p", "6380", "--tls", "--cacert", trusted, "PING"}
			if got, err := cli(t, o, by...); err != nil || got != "PONG" {
				t.Errorf("%s: by TLS: %s, %v", mode, got, err)
			}
			if got, err := cli(t, o, "-h", m.env.Address, "PING"); (err == nil && got == "PONG") != plainly {
				t.Errorf("%s: plainly: %s, %v", mode, got, err)
			}
			if got, err := cli(t, o, "-h", m.env.Address, "-p", "6380", "PING"); err == nil && got == "PONG" {
				t.Errorf("%s: the port of TLS takes a plain connection", mode)
			}
		}
		try(datastores.TLSBasic, true)
		secure.Set(t, ca, datastores.TLSEnforced, false)
		useTLS(t, m)
		try(datastores.TLSEnforced, false)
		secure.Set(t, stranger, datastores.TLSEnforced, false)
		useTLS(t, m)
		useTLS(t, m)
		must(t, m.data.WriteFile("ca.crt", ca.PEM()))
		trusted = m.dataPath("ca.crt")
		if got, err := cli(t, o, "-h", m.env.Address, "-p", "6380", "--tls", "--cacert", trusted, "PING"); err == nil && got == "PONG" {
			t.Error("the client takes the certificate of another CA")
		}
	})
}

// TestReplicaChecksItsSource has a running replica, its server and its guest, trust another CA than that of its source.
func TestReplicaChecksItsSource(t *testing.T) {
	eachVariant(t, func(t *testing.T, o Options) {
		ctx := t.Context()
		ca, stranger := datastoretest.NewAuthority(t), datastoretest.NewAuthority(t)
		source, there := placeTLS(t, o)
		there.Set(t, ca, datastores.TLSEnforced, false)
		must(t, source.Prepare(ctx, datastores.PrepareRequest{Progress: func(string) {}}))
		must(t, source.addReplica(ctx, accountOf(1)))
		replica, here := placeTLS(t, o)
		here.Set(t, ca, datastores.TLSOff, true)
		must(t, replica.Prepare(ctx, datastores.PrepareRequest{Progress: func(string) {}, Replicate: &datastores.Replicate{
			Strategy: replica.ReplicationStrategies()[0], Request: attachTo(source, accountOf(1)),
		}}))
		link := func(status string) func() bool {
			return func() bool {
				info, err := replica.info(ctx, "replication")
				return err == nil && info["master_link_status"] == status
			}
		}
		soon(t, "the replica follows by TLS", link("up"))
		here.Set(t, stranger, datastores.TLSOff, true)
		useTLS(t, replica)
		must(t, source.call(ctx, []string{"CLIENT", "KILL", "TYPE", "replica"}))
		soon(t, "the replica has tried to come back", func() bool {
			return strings.Contains(replica.service.LastWords(), "certificate verify failed")
		})
		if !link("down")() {
			t.Error("the replica follows a source whose certificate another CA has signed")
		}
		if err := replica.copyUsers(ctx); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("the replica's guest asks a source whose certificate another CA has signed: %v", err)
		}
		here.Set(t, ca, datastores.TLSOff, true)
		useTLS(t, replica)
		soon(t, "the replica follows again", link("up"))
	})
}
