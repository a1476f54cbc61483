package guest

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agent"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// gatewayCA signs as a gateway does.
type gatewayCA struct {
	*datastoretest.Authority
	down   error
	life   time.Duration
	signed int
}

func (c *gatewayCA) Certificate(_ context.Context, csr []byte) (reply agentpoll.CertificateReply, err error) {
	if c.down != nil {
		return reply, c.down
	}
	request, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return reply, err
	}
	c.signed++
	der, err := c.Sign(request.PublicKey, instance, address, c.life)
	return agentpoll.CertificateReply{
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), CA: string(c.PEM()),
	}, err
}

// certified is a bench whose gateway signs.
func certified(t *testing.T) (*bench, *gatewayCA) {
	t.Helper()
	b, ca := newBench(t), &gatewayCA{Authority: datastoretest.NewAuthority(t), life: 90 * 24 * time.Hour}
	b.signer = ca
	return b, ca
}

func (b *bench) ssl(t *testing.T, method, id string, args any) (reply datastores.SSLReply) {
	t.Helper()
	if err := json.Unmarshal(b.do(t, agent.Command{ID: id, Method: method}, args), &reply); err != nil {
		t.Fatal(err)
	}
	return reply
}

// reached tells by which ways ann gets in.
func (b *bench) reached(t *testing.T, ca *gatewayCA) (byTLS, plainly bool) {
	t.Helper()
	l := datastoretest.Login{Address: address, User: "ann", Password: "pass"}
	return b.memory.ConnectTLS(t.Context(), l, ca.Client(address)) == nil, b.memory.Connect(t.Context(), address, "ann", "pass", "") == nil
}

func (b *bench) wantReached(t *testing.T, when string, ca *gatewayCA, byTLS, plainly bool) {
	t.Helper()
	if gotTLS, gotPlain := b.reached(t, ca); gotTLS != byTLS || gotPlain != plainly {
		t.Errorf("%s: let in by TLS %v, plainly %v; want %v, %v", when, gotTLS, gotPlain, byTLS, plainly)
	}
}

var withAnn = datastores.PrepareArgs{Users: []datastores.User{{Name: "ann", Password: datastores.NewSecret("pass").ForSealing()}}}

func TestServersGetACertificate(t *testing.T) {
	b, ca := certified(t)
	b.do(t, command(datastores.MethodPrepare), withAnn)
	b.wantReached(t, "prepared", ca, true, true)
	if st := b.observe(t.Context()); st.TLS != datastores.TLSBasic {
		t.Errorf("it reports %q", st.TLS)
	}
	shown := b.ssl(t, datastores.MethodSSLShow, "1", nil)
	if c := shown.Certificate; shown.Mode != datastores.TLSBasic || c == nil || c.CN != instance || c.Expires.Before(time.Now().Add(80*24*time.Hour)) {
		t.Errorf("shown: %+v", shown)
	}

	b.ssl(t, datastores.MethodSSLAction, "2", datastores.SSLArgs{Enable: true, Mode: datastores.TLSEnforced})
	b.wantReached(t, "enforced", ca, true, false)
	b = b.again(t)
	b.signer = ca
	b.do(t, command(datastores.MethodRestart), nil)
	b.wantReached(t, "another guest has restarted it", ca, true, false)

	b.ssl(t, datastores.MethodSSLRollback, "3", nil)
	b.wantReached(t, "rolled back", ca, true, true)
	b.ssl(t, datastores.MethodSSLRollback, "3", nil) // the same command again
	b.wantReached(t, "rolled back, repeated", ca, true, true)
	b.ssl(t, datastores.MethodSSLAction, "4", datastores.SSLArgs{})
	b.wantReached(t, "disabled", ca, false, true)
	if shown := b.ssl(t, datastores.MethodSSLShow, "5", nil); shown.Mode != datastores.TLSOff || shown.Certificate != nil {
		t.Errorf("shown when off: %+v", shown)
	}
	b.refused(t, agent.Command{ID: "6", Method: datastores.MethodSSLAction}, datastores.SSLArgs{Enable: true, Mode: datastores.TLSMutual}, agentpoll.Invalid)
}

// TestTLSThatTheServerRefuses: it does as before.
func TestTLSThatTheServerRefuses(t *testing.T) {
	b, ca := certified(t)
	b.do(t, command(datastores.MethodPrepare), withAnn)
	b.memory.Fail(address, datastores.MethodSSLAction, errors.New("no"))
	if _, err := b.run(t.Context(), agent.Command{ID: "1", Method: datastores.MethodSSLAction}, datastores.SSLArgs{Enable: true, Mode: datastores.TLSEnforced}); err == nil {
		t.Error("what the server refuses was done")
	}
	b.memory.Fail(address, datastores.MethodSSLAction, nil)
	b.do(t, command(datastores.MethodRestart), nil)
	b.wantReached(t, "refused", ca, true, true)
}

// TestRequiredTLS: without a certificate nothing is open in clear.
func TestRequiredTLS(t *testing.T) {
	b, ca := certified(t)
	b = b.beside(t, address, `{"require_tls":true}`)
	ca.down = errors.New("no gateway")
	b.signer = ca
	if _, err := b.run(t.Context(), command(datastores.MethodPrepare), withAnn); err == nil {
		t.Error("a server that must take TLS alone was made without a certificate")
	}
	if b.memory.Starts(address) > 0 {
		t.Error("it was started")
	}
	ca.down = nil
	b.do(t, command(datastores.MethodPrepare), withAnn)
	b.wantReached(t, "required", ca, true, false)
	for _, args := range []datastores.SSLArgs{{}, {Enable: true, Mode: datastores.TLSBasic}} {
		b.refused(t, agent.Command{ID: "1", Method: datastores.MethodSSLAction}, args, agentpoll.Invalid)
	}
	b.wantReached(t, "refused", ca, true, false)
}

// TestCertificatesAreRenewed while the server runs, and had when there was no gateway at the start.
func TestCertificatesAreRenewed(t *testing.T) {
	b, ca := certified(t)
	ca.down = errors.New("no gateway")
	b.do(t, command(datastores.MethodPrepare), withAnn)
	b.wantReached(t, "without a gateway", ca, false, true)
	b.renewTLS(t.Context())
	ca.down = nil
	b.renewTLS(t.Context())
	if ca.signed != 0 {
		t.Error("it was asked again at once")
	}
	b.tlsNext, ca.life = time.Time{}, time.Hour // as if begun an hour ago, see Sign
	b.renewTLS(t.Context())
	b.wantReached(t, "with a gateway", ca, true, true)
	b.tlsNext = time.Time{}
	b.renewTLS(t.Context())
	if b.wantReached(t, "renewed", ca, true, true); ca.signed != 2 {
		t.Errorf("%d certificates were signed, want another one for the one that is old", ca.signed)
	}
	ca.down = errors.New("no gateway")
	if w := b.observe(t.Context()).Warning; w == "" {
		t.Error("nobody is told of a certificate that is about to expire")
	}
	if starts := b.memory.Starts(address); starts != 1 {
		t.Errorf("the server was started %d times", starts)
	}
}

// TestServersOfEarlierGuests get a certificate with their next start.
func TestServersOfEarlierGuests(t *testing.T) {
	b, ca := certified(t)
	b.do(t, command(datastores.MethodPrepare), withAnn)
	if err := b.state.change(func(s *state) { s.TLS = nil }); err != nil {
		t.Fatal(err)
	}
	b.renewTLS(t.Context())
	if st := b.observe(t.Context()); st.TLS != datastores.TLSOff {
		t.Errorf("it reports %q", st.TLS)
	}
	b.do(t, command(datastores.MethodRestart), nil)
	b.wantReached(t, "restarted", ca, true, true)
}
