package agent

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// stall is how long a transfer may go on without a byte that moves. It is long: what was written may wait in buffers on
// a slow line, and the gateway answers only when the store has everything.
const stall = 2 * time.Minute

var errStalled = fmt.Errorf("nothing has moved for %s", stall)

// transfer is a call whose body, of the request or of the answer, is a segment.
type transfer struct {
	client             *client
	name, method, path string
	body               []byte
	got                []byte
	denials            int // of the store
}

// maxDenials is how often a store may deny access: the first answers may be to URLs that had expired.
const maxDenials = 4

// try makes the call once. When the gateway answers with the URL of a store it goes there; the next try asks for a new one.
func (t *transfer) try(ctx context.Context) error {
	var location string
	var from link
	err := t.client.do(ctx, true, func(l link) (err error) {
		from = l
		location, err = t.atGateway(ctx, l)
		return err
	})
	if err != nil || location == "" {
		return err
	}
	return t.atStore(ctx, from.base, location)
}

// atGateway returns where the gateway sends the agent to, "" when it has done the work itself.
func (t *transfer) atGateway(ctx context.Context, l link) (location string, err error) {
	fail := &callError{call: t.name, gateway: l.base.String()}
	a := newAttempt(ctx)
	defer a.end()
	req, err := t.client.request(a.ctx, l, t.method, t.path, nil)
	if err != nil {
		fail.err = err
		return "", fail
	}
	if t.method == http.MethodPut {
		a.lend(req, t.body)
		req.Header.Set(agentpoll.HeaderSHA256, sum(t.body))
	}
	resp, err := l.http.Transport.RoundTrip(req) // a Client looks at a Location, and quotes it in its error
	if err != nil {
		fail.err = a.cause(err)
		return "", fail
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusTemporaryRedirect {
		return resp.Header.Get("Location"), nil
	}
	fail.status = resp.StatusCode
	if fail.err = t.answer(a, resp); fail.err != nil {
		fail.retryAfter = retryAfter(resp.Header)
		return "", fail
	}
	return "", nil
}

// atStore makes the call at a pre-signed URL, which is a secret and must not get the credential. Few of its failures are final:
// a blob that is not there, a store that is full, one that denies access to URL after URL.
func (t *transfer) atStore(ctx context.Context, base *url.URL, location string) error {
	u, err := base.Parse(location)
	if err != nil || !t.client.cfg.allowed(u) {
		return agentpoll.Errorf(agentpoll.Internal, "the gateway sends the agent to a place that is not https; -allow-http permits it")
	}
	a := newAttempt(ctx)
	defer a.end()
	req, err := http.NewRequestWithContext(a.ctx, t.method, u.String(), nil)
	if err != nil {
		return errors.New("the gateway sends the agent to a place that is none")
	}
	if t.method == http.MethodPut {
		a.lend(req, t.body)
		digest := md5.Sum(t.body) // against damage, not against people: what every store can check
		req.Header.Set("Content-MD5", base64.StdEncoding.EncodeToString(digest[:]))
	}
	resp, err := t.client.store.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("%s at the store %s: %w", t.name, u.Host, a.cause(err))
	}
	defer resp.Body.Close()
	err = t.answer(a, resp)
	switch {
	case err != nil && t.method == http.MethodGet && resp.StatusCode == http.StatusNotFound:
		return &callError{call: t.name, gateway: "the store " + u.Host, status: resp.StatusCode, err: errors.New("there is no such segment")}
	case err != nil:
		err = fmt.Errorf("%s at the store %s: answer %d: %w", t.name, u.Host, resp.StatusCode, err)
		return cmp.Or(t.verdict(resp.StatusCode, err), err)
	}
	return nil
}

// verdict is the final error of a store's answer, nil when another try may do better. Stores tell of a quota that is used up
// with 403.
func (t *transfer) verdict(status int, err error) error {
	denied := status == http.StatusForbidden
	if denied {
		t.denials++
	}
	switch {
	case status == http.StatusInsufficientStorage, denied && strings.Contains(err.Error(), "QuotaExceeded"):
		return &agentpoll.Error{Kind: agentpoll.Full, Message: agentpoll.StoreFull, Detail: err.Error()}
	case t.denials >= maxDenials:
		return &agentpoll.Error{Kind: agentpoll.Unavailable, Message: agentpoll.StoreDenies, Detail: err.Error()}
	}
	return nil
}

// answer reads a segment, or why there is none.
func (t *transfer) answer(a *attempt, resp *http.Response) error {
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return reason(resp.Body)
	case t.method != http.MethodGet:
		return nil
	case resp.ContentLength < 0 || resp.ContentLength > agentpoll.MaxSegment:
		return fmt.Errorf("the answer has %d bytes, want at most %d, and to know it beforehand", resp.ContentLength, agentpoll.MaxSegment)
	}
	body := make([]byte, resp.ContentLength)
	if _, err := io.ReadFull(&moving{a, resp.Body}, body); err != nil {
		return fmt.Errorf("cannot read the segment: %w", a.cause(err))
	}
	t.got = body
	return nil
}

// attempt is an exchange of much data. It ends with its context, or when no byte moves any more.
type attempt struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer

	mu    sync.Mutex
	ended bool
}

func newAttempt(ctx context.Context) *attempt {
	a := &attempt{}
	a.ctx, a.cancel = context.WithCancelCause(ctx)
	a.timer = time.AfterFunc(stall, func() { a.cancel(errStalled) })
	return a
}

// end takes the body back, which the transport may still be sending: its owner will write into it.
func (a *attempt) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	a.timer.Stop()
	a.cancel(nil)
}

// cause is why err happened, without the URL.
func (a *attempt) cause(err error) error {
	if a.ctx.Err() != nil {
		return context.Cause(a.ctx)
	}
	return withoutURL(err)
}

// lend makes body that of the request. It is sent when the other side has said that it wants it.
func (a *attempt) lend(req *http.Request, body []byte) {
	req.ContentLength = int64(len(body))
	if len(body) == 0 {
		return
	}
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(&moving{a, bytes.NewReader(body)}), nil }
	req.Body, _ = req.GetBody()
	req.Header.Set("Expect", "100-continue")
}

// moving puts the end off with every byte that is read, and reads nothing after it.
type moving struct {
	*attempt
	from io.Reader
}

func (m *moving) Read(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return 0, net.ErrClosed
	}
	n, err := m.from.Read(p)
	if n > 0 {
		m.timer.Reset(stall)
	}
	return n, err
}
