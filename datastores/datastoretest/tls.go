package datastoretest

import (
	"context"
	"crypto/tls"
	"errors"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// speaks has the server speak TLS in a mode, with a new certificate of ca, and a replica follow its source so.
func (s *server) speaks(t *testing.T, ca *Authority, mode datastores.TLSMode, verifySource bool) {
	t.Helper()
	s.tls.Set(t, ca, mode, verifySource)
	// Not the test's context, which has ended when a cleanup runs.
	ctx, cancel := context.WithTimeout(context.Background(), s.patience())
	defer cancel()
	restart, err := s.manager.(datastores.TLS).UseTLS(ctx)
	s.must(t, "use TLS", err)
	if restart {
		s.restart(t)
	}
}

// secure logs in by TLS as a client does that trusts ca alone. The server must show its newest certificate.
func (s *server) secure(t *testing.T, ca *Authority) error {
	t.Helper()
	config := ca.Client(s.env.Address)
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if !state.PeerCertificates[0].Equal(s.tls.leaf) {
			return errors.New("the server shows another certificate than its newest")
		}
		return nil
	}
	return s.ConnectTLS(s.within(t), s.login, config)
}

// testTLS walks through the modes, each across a restart.
func testTLS(t *testing.T, s *server) {
	s.visitor(t)
	ca, stranger := NewAuthority(t), NewAuthority(t)
	t.Cleanup(func() { s.speaks(t, ca, datastores.TLSOff, false) })
	plain := func() error { return s.connect(t, s.login.User, s.login.Password, s.login.Database) }
	for _, step := range []struct {
		name         string
		mode         datastores.TLSMode
		tls, plainly bool
	}{
		{"offered", datastores.TLSBasic, true, true},
		{"renewed", datastores.TLSBasic, true, true},
		{"alone", datastores.TLSEnforced, true, false},
		{"renewed alone", datastores.TLSEnforced, true, false},
		{"offered again", datastores.TLSBasic, true, true},
		{"off", datastores.TLSOff, false, true},
	} {
		s.speaks(t, ca, step.mode, false)
		for _, when := range []string{"at once", "after a restart"} {
			if err := s.secure(t, ca); (err == nil) != step.tls {
				t.Errorf("%s, %s: by TLS = %v, want it to be let in: %v", step.name, when, err, step.tls)
			}
			if err := s.secure(t, stranger); err == nil {
				t.Errorf("%s, %s: a client that trusts another CA takes the certificate", step.name, when)
			}
			if err := plain(); (err == nil) != step.plainly {
				t.Errorf("%s, %s: without TLS = %v, want it to be let in: %v", step.name, when, err, step.plainly)
			}
			s.wantStatus(t, datastores.StatusHealthy)
			if when == "at once" {
				s.restart(t)
			}
		}
	}
}

// testTLSStopped tells a server of TLS that does not run.
func testTLSStopped(t *testing.T, s *server) {
	s.visitor(t)
	ca := NewAuthority(t)
	t.Cleanup(func() { s.speaks(t, ca, datastores.TLSOff, false) })
	s.stop(t)
	s.tls.Set(t, ca, datastores.TLSEnforced, false)
	s.start(t)
	s.must(t, "log in by TLS", s.secure(t, ca))
}

// testReplicaTLS has replicas follow a source that takes nothing but TLS.
func testReplicaTLS(t *testing.T, g *stage) {
	f := g.fleet(t)
	if _, ok := f.source.manager.(datastores.TLS); !ok {
		t.Skip("the datastore cannot do TLS: not tested")
	}
	ca, stranger := NewAuthority(t), NewAuthority(t)
	all := func(mode datastores.TLSMode, verify bool) {
		f.source.speaks(t, ca, mode, false)
		for _, r := range f.replicas {
			r.speaks(t, ca, mode, verify)
		}
	}
	all(datastores.TLSBasic, true)
	t.Cleanup(func() { all(datastores.TLSOff, false) })
	f.source.write(t, someItems)
	f.settled(t)
	f.source.restart(t)
	f.source.write(t, someItems)
	f.settled(t)

	// What the replica misses it can get by TLS alone.
	r := f.replicas[0]
	r.stop(t)
	f.source.write(t, someItems)
	want := f.source.contents(t)
	f.source.speaks(t, ca, datastores.TLSEnforced, false)
	r.start(t)
	r.eventually(t, func() (bool, string) {
		items, digest, err := r.Digest(r.within(t), r.login)
		got := contents{items, digest}
		return err == nil && got == want, "a replica that follows by TLS has " + got.String() + " of " + want.String()
	})
	r.next = f.source.next

	deceived := newServer(t, t, g.Harness)
	deceived.tls.Set(t, stranger, datastores.TLSBasic, true)
	account := f.account(deceived)
	delete(f.accounts, deceived)
	f.must(t, f.source, "add replica", func(ctx context.Context, m following) error {
		return m.Source.AddReplica(ctx, account)
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), g.patience())
		defer cancel()
		f.source.must(t, "remove replica", f.source.replication(t, f.strategy).Source.RemoveReplica(ctx, account))
	})
	ctx, cancel := context.WithTimeout(t.Context(), g.patience()/4)
	defer cancel()
	if err := deceived.manager.Prepare(ctx, f.prepareRequest(t, deceived, account)); err == nil {
		t.Error("a replica follows a source whose certificate another CA has signed")
	}
}
