package agent

import (
	"context"

	"github.com/cofferdb/coffer/agentpoll"
)

// Certificate has the gateway sign a certificate for the key of csr, PKCS #10 in DER. It tries until ctx ends what may succeed soon.
func (a *Agent) Certificate(ctx context.Context, csr []byte) (reply agentpoll.CertificateReply, err error) {
	a.mu.Lock()
	s := a.session
	a.mu.Unlock()
	if s == nil {
		return reply, ErrNotRunning
	}
	for retry := (backoff{}); ; {
		try, cancel := context.WithTimeout(ctx, callTimeout)
		_, err = s.client.call(try, "certificate", agentpoll.PathCertificate, agentpoll.CertificateRequest{CSR: csr}, &reply)
		cancel()
		if err == nil || judge(err) != again {
			return reply, err
		}
		if sleep(ctx, retry.next(err)); ctx.Err() != nil {
			return reply, err
		}
	}
}
