package guest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
)

// tlsState is how the server has to speak TLS.
type tlsState struct {
	Mode datastores.TLSMode `json:"mode"`
	// Before is the mode that a rollback goes back to; "": there is none.
	Before datastores.TLSMode `json:"before,omitempty"`
	// Placed: the server's files are on the volume.
	Placed bool `json:"placed,omitempty"`
	// Source, of a replica: its source is followed by TLS alone.
	Source bool `json:"source,omitempty"`
	// Command is the id of the command that changed it last: repeated, it changes nothing more.
	Command string `json:"command,omitempty"`
	// Set is when the server was told of what it does only after a restart; zero: it does as it should.
	Set time.Time `json:"set,omitzero"`
}

// tlsMode is how the server of s has to speak TLS. A server that nobody has asked for anything takes it, and plain connections too.
func (g *Guest) tlsMode(s *served, st state) datastores.TLSMode {
	switch {
	case !speaksTLS(s.manager):
		return datastores.TLSOff
	case s.options.RequireTLS:
		return datastores.TLSEnforced
	case st.TLS == nil:
		return datastores.TLSOff
	}
	return st.TLS.Mode
}

func speaksTLS(m datastores.Manager) bool { _, ok := m.(datastores.TLS); return ok }

// serverTLS is what a manager is told when it asks. Without a certificate there is no TLS, but for a server that must have it: that
// one does not start.
func (g *Guest) serverTLS(s *served) datastores.ServerTLS {
	st, cert := g.state.get(), g.certificates.get()
	t := datastores.ServerTLS{Mode: g.tlsMode(s, st), Dir: filepath.Join(s.env.DataDir, tlsFolder)}
	if t.VerifySource = st.TLS != nil && st.TLS.Source; cert != nil {
		t.CA = cert.CA
	}
	if cert == nil || st.TLS == nil || !st.TLS.Placed {
		if t.Mode == datastores.TLSBasic {
			t.Mode = datastores.TLSOff
		}
	}
	return t
}

// reportedTLS is how the server speaks TLS, for the gateway.
func (g *Guest) reportedTLS() datastores.TLSMode {
	s := g.served.Load()
	switch t := g.serverTLS(s); {
	case !speaksTLS(s.manager):
		return ""
	case t.On():
		return t.Mode
	}
	return datastores.TLSOff
}

// asked is the state of TLS when that mode was asked for; "": none was.
func asked(mode datastores.TLSMode) *tlsState {
	return &tlsState{Mode: cmp.Or(mode, datastores.TLSBasic)}
}

// beginTLS decides how a server speaks TLS that has not been decided about.
func (g *Guest) beginTLS(s *served) error {
	if !speaksTLS(s.manager) {
		return nil
	}
	return g.state.change(func(st *state) {
		if st.TLS == nil {
			st.TLS = asked("")
		}
	})
}

// followByTLS has a replica follow its source by TLS alone, or not.
func (g *Guest) followByTLS(ctx context.Context, s *served, on bool) error {
	if !speaksTLS(s.manager) || !on && g.state.get().TLS == nil {
		return nil
	}
	if on { // the CA is needed
		if err := g.beginTLS(s); err != nil {
			return err
		}
		if err := g.certify(ctx, s, signAsked); err != nil {
			return err
		}
	}
	return g.changeTLS(func(t *tlsState) { t.Source = on })
}

// changeTLS stores what f makes of the state of TLS.
func (g *Guest) changeTLS(f func(*tlsState)) error {
	return g.state.change(func(st *state) {
		next := tlsState{Mode: datastores.TLSOff}
		if st.TLS != nil {
			next = *st.TLS
		}
		f(&next)
		st.TLS = &next
	})
}

// certify sees to it that there is a certificate of this instance, and that the server's files are in their place.
func (g *Guest) certify(ctx context.Context, s *served, within time.Duration) error {
	if cert := g.certificates.get(); cert == nil || !cert.fits(s.env.InstanceID) {
		if err := g.certificates.renew(ctx, g.signer, within); err != nil {
			return err
		}
	}
	return g.place(s)
}

// place puts the server's files into their place.
func (g *Guest) place(s *served) error {
	if err := g.certificates.get().place(s.env); err != nil {
		return fmt.Errorf("cannot give the server its certificate: %w", err)
	}
	return g.changeTLS(func(t *tlsState) { t.Placed = true })
}

// bringTLS puts what the server needs to speak TLS into its place, before a start. A server that may do without starts without, or
// with what it had, when there is no certificate to be had: it gets one later, see renewTLS.
func (g *Guest) bringTLS(ctx context.Context, s *served, within time.Duration) error {
	st := g.state.get()
	mode := g.tlsMode(s, st)
	if mode == datastores.TLSOff && (st.TLS == nil || !st.TLS.Source) {
		return nil
	}
	err := g.certify(ctx, s, within)
	if err == nil {
		return nil
	}
	if now := g.state.get().TLS; mode == datastores.TLSEnforced && (now == nil || !now.Placed) || ctx.Err() != nil {
		return fmt.Errorf("the server has to speak TLS: %w", err)
	}
	g.log.Warn("the database server starts without a certificate, or with the one it had", "err", datastores.Told(err).Message)
	return nil
}

// useTLS has the server, when it runs, do as the state says. A server that is started later asks what that is.
func (g *Guest) useTLS(ctx context.Context, s *served) error {
	restart := false
	if runs := !s.manager.Status(ctx).Since.IsZero(); runs {
		var err error
		if restart, err = s.manager.(datastores.TLS).UseTLS(ctx); err != nil {
			return err
		}
	}
	g.tlsTold.Store(g.certificates.get())
	return g.changeTLS(func(t *tlsState) {
		t.Set = time.Time{}
		if restart {
			t.Set = time.Now()
		}
	})
}

// When a certificate is made anew, and when tenants are told that it was not, in shares of its life.
const (
	renewalDue     = 2.0 / 3
	renewalOverdue = 5.0 / 6
)

// tlsRetry is the pause between tries to get a certificate while the server runs.
const tlsRetry = time.Minute

// renewTLS gets a certificate for a running server that has none, or an old one, and tells the server of one that a guest which was
// killed may not have told it of. It waits for nobody's turn.
func (g *Guest) renewTLS(ctx context.Context) {
	s, st := g.served.Load(), g.state.get()
	mode := g.tlsMode(s, st)
	if mode == datastores.TLSOff || st.TLS == nil || !st.Running || st.Phase != phasePrepared || st.between() || time.Now().Before(g.tlsNext) {
		return
	}
	cert := g.certificates.get()
	good := cert != nil && cert.fits(s.env.InstanceID) && time.Now().Before(cert.after(renewalDue))
	if good && g.tlsTold.Load() == cert {
		return
	}
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	default:
		return
	}
	g.tlsNext = time.Now().Add(tlsRetry)
	var err error
	if !good {
		err = g.certificates.renew(ctx, g.signer, signBeside)
	}
	if err == nil {
		err = g.place(s)
	}
	if err == nil {
		err = g.useTLS(ctx, s)
	}
	if err != nil {
		g.log.Warn("the database server has no new certificate yet", "err", datastores.Told(err).Message)
		return
	}
	g.log.Info("the database server has its certificate", "until", g.certificates.get().leaf.NotAfter)
	g.agent.StatusChanged()
}

// tlsWarning says that a certificate is about to expire; "" when it is not.
func (g *Guest) tlsWarning() string {
	cert := g.certificates.get()
	if cert == nil || !g.serverTLS(g.served.Load()).On() || time.Now().Before(cert.after(renewalOverdue)) {
		return ""
	}
	return fmt.Sprintf("the certificate of the server is good until %s, and no gateway has signed another; enable TLS anew, or have an operator look at the guest's log",
		cert.leaf.NotAfter.UTC().Format(time.DateTime))
}

func (g *Guest) sslShow(ctx context.Context, _ call, m datastores.TLS, _ none) (datastores.SSLReply, error) {
	return g.sslReply(ctx), nil
}

func (g *Guest) sslReply(ctx context.Context) datastores.SSLReply {
	s := g.served.Load()
	st, t := g.state.get(), g.serverTLS(s)
	reply := datastores.SSLReply{Mode: t.Mode}
	if !t.On() {
		reply.Mode = datastores.TLSOff
	} else {
		reply.Certificate = g.certificates.get().told()
	}
	if st.TLS != nil && !st.TLS.Set.IsZero() {
		reply.RestartRequired = !s.manager.Status(ctx).Since.After(st.TLS.Set)
	}
	return reply
}

// sslAction turns TLS on, with a new certificate, or off.
func (g *Guest) sslAction(ctx context.Context, cmd agent.Command, args datastores.SSLArgs) (datastores.SSLReply, error) {
	return g.setTLS(ctx, cmd, func(s *served, had tlsState) (tlsState, error) {
		next := had
		next.Mode, next.Source = datastores.TLSOff, args.Source
		if args.Enable {
			next.Mode = args.Mode
			if args.Mode == "" && s.options.RequireTLS {
				next.Mode = datastores.TLSEnforced
			} else if args.Mode == "" {
				next.Mode = datastores.TLSBasic
			}
		}
		if next.Mode != had.Mode {
			next.Before = had.Mode
		}
		return next, nil
	})
}

// sslRollback goes back to the mode before.
func (g *Guest) sslRollback(ctx context.Context, cmd agent.Command, args datastores.SSLArgs) (datastores.SSLReply, error) {
	return g.setTLS(ctx, cmd, func(_ *served, had tlsState) (tlsState, error) {
		if had.Before == "" {
			return had, datastores.Errorf(datastores.Invalid, "there is nothing to roll back to: TLS of this instance was not changed")
		}
		next := had
		next.Mode, next.Before, next.Source = had.Before, had.Mode, args.Source
		return next, nil
	})
}

// setTLS has the server speak TLS as change has it. When the server does not take that, it does as before.
func (g *Guest) setTLS(ctx context.Context, cmd agent.Command, change func(*served, tlsState) (tlsState, error)) (datastores.SSLReply, error) {
	return inTurn(ctx, g, g.usable, func(s *served) (reply datastores.SSLReply, err error) {
		if !speaksTLS(s.manager) {
			return reply, datastores.Errorf(datastores.Unsupported, "this datastore cannot do TLS")
		}
		had := tlsState{Mode: datastores.TLSOff}
		if st := g.state.get().TLS; st != nil {
			had = *st
		}
		next := had
		if had.Command != cmd.ID || cmd.ID == "" {
			if next, err = change(s, had); err != nil {
				return reply, err
			}
			if err := checkMode(s, next.Mode); err != nil {
				return reply, err
			}
			next.Command = cmd.ID
		}
		if next.Mode != datastores.TLSOff || next.Source {
			if err := g.certificates.renew(ctx, g.signer, signAsked); err != nil {
				return reply, err
			}
			if err := g.place(s); err != nil {
				return reply, err
			}
			next.Placed = true
		}
		if err = g.changeTLS(func(t *tlsState) { *t = next }); err == nil {
			err = g.useTLS(ctx, s)
		}
		if err != nil && ctx.Err() == nil {
			had.Placed = had.Placed || next.Placed
			if back := g.changeTLS(func(t *tlsState) { *t = had }); back == nil {
				back = g.useTLS(ctx, s)
				err = errors.Join(err, back)
			}
		}
		if err != nil {
			return reply, err
		}
		g.agent.StatusChanged()
		return g.sslReply(ctx), nil
	})
}

// checkMode refuses what a server cannot be.
func checkMode(s *served, mode datastores.TLSMode) error {
	switch mode {
	case datastores.TLSOff, datastores.TLSBasic:
		if s.options.RequireTLS {
			return datastores.Errorf(datastores.Invalid, "this datastore version requires TLS (require_tls): the mode is %s", datastores.TLSEnforced)
		}
	case datastores.TLSEnforced:
	default:
		return datastores.Errorf(datastores.Invalid, "the mode %q is not %s or %s", mode, datastores.TLSBasic, datastores.TLSEnforced)
	}
	return nil
}
