package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/cofferdb/coffer/agentpoll"
)

const (
	callTimeout = 30 * time.Second // of a call that is not held
	maxReply    = 16 << 20         // bytes of an answer's body
	maxReason   = 1 << 10          // bytes of an error answer's body that are worth a log line
)

// client makes the calls of the protocol, at one gateway at a time. It may be used concurrently.
type client struct {
	cfg      Config
	identity *identity
	log      *slog.Logger
	store    *http.Transport // for pre-signed URLs

	mu      sync.Mutex
	current int // index into cfg.Gateways
	base    *url.URL
	http    *http.Client
	pins    []string // of its transport
}

func newClient(cfg Config, id *identity) *client {
	c := &client{cfg: cfg, identity: id, log: cfg.Log, current: rand.IntN(len(cfg.Gateways)), store: plainTransport()}
	c.connect()
	return c
}

// connect makes a new transport for the current gateway; mu is held, or nobody else knows c.
func (c *client) connect() {
	c.base, _ = url.Parse(strings.TrimSuffix(c.cfg.Gateways[c.current], "/")) // Validate has parsed it
	c.pins = c.identity.pins()
	c.http = &http.Client{
		Transport:     newTransport(c.cfg, c.pins, c.base),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// rebuild drops the transport with whatever is stuck in it.
func (c *client) rebuild() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.http.CloseIdleConnections()
	c.connect()
}

// trust connects anew when the gateways are known by another CA than they were.
func (c *client) trust() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.pins, c.identity.pins()) {
		c.http.CloseIdleConnections()
		c.connect()
	}
}

// moveOn turns to the next gateway, unless somebody has turned away from the one that failed already.
func (c *client) moveOn(failed *url.URL) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.base != failed || len(c.cfg.Gateways) == 1 {
		return
	}
	c.http.CloseIdleConnections()
	c.current = (c.current + 1) % len(c.cfg.Gateways)
	c.connect()
}

func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.http.CloseIdleConnections()
	c.store.CloseIdleConnections()
}

// answer is a 2xx answer.
type answer struct {
	status int
	header http.Header
	secure bool // the gateway was known by its certificate
}

// link is where and as whom a call is made.
type link struct {
	base       *url.URL
	http       *http.Client
	credential agentpoll.Credential
}

func (c *client) link() link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return link{c.base, c.http, c.identity.credential()}
}

// request begins a call.
func (c *client) request(ctx context.Context, l link, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, l.base.String()+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "coffer-agent/"+c.cfg.Version)
	if l.credential.AgentID != "" {
		req.Header.Set("Authorization", l.credential.Header())
	}
	return req, nil
}

// do makes a call once, or twice: the credential is chosen here, and changed at once when a rotation left two that might be
// right. transfer tells that the call moves much data, so that it may live for long without anybody having held it.
func (c *client) do(ctx context.Context, transfer bool, once func(link) error) error {
	for {
		begun := time.Now()
		l := c.link()
		err := once(l)
		lived := time.Since(begun)
		if transfer {
			lived = 0
		}
		switch {
		case err == nil:
			if err := c.identity.accepted(l.credential); err != nil {
				c.log.Error("a rotated credential is in use and not saved yet", "err", err)
			}
			return nil
		case statusOf(err) == http.StatusUnauthorized && c.identity.rejected(l.credential):
			continue
		case elsewhere(ctx, err, lived):
			c.moveOn(l.base)
		}
		return err
	}
}

// call posts in and decodes a 200 answer into out. The context must bring the deadline. Every error is a *callError.
func (c *client) call(ctx context.Context, name, path string, in, out any) (a answer, err error) {
	err = c.do(ctx, false, func(l link) (err error) {
		a, err = c.post(ctx, l, name, path, in, out)
		return err
	})
	return a, err
}

func (c *client) post(ctx context.Context, l link, name, path string, in, out any) (a answer, err error) {
	fail := &callError{call: name, gateway: l.base.String()}
	body, err := json.Marshal(in)
	if err != nil {
		fail.err = err
		return a, fail
	}
	req, err := c.request(ctx, l, http.MethodPost, path, bytes.NewReader(body))
	if err != nil {
		fail.err = err
		return a, fail
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := l.http.Do(req)
	if err != nil {
		fail.err = withoutURL(err)
		return a, fail
	}
	defer resp.Body.Close()
	a, fail.status = answer{resp.StatusCode, resp.Header, l.base.Scheme == "https"}, resp.StatusCode
	if fail.err = readAnswer(resp, out); fail.err != nil {
		fail.retryAfter = retryAfter(resp.Header)
		return a, fail
	}
	return a, nil
}

// readAnswer decodes a 200, takes any other 2xx as it is, and makes an error of everything else.
func readAnswer(resp *http.Response, out any) error {
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return reason(resp.Body)
	case resp.StatusCode == http.StatusOK && out != nil:
		data, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
		if err != nil {
			return fmt.Errorf("cannot read the answer: %w", err)
		}
		if len(data) > maxReply {
			return fmt.Errorf("the answer is longer than %d bytes", maxReply)
		}
		if err := json.Unmarshal(data, out); err != nil {
			return fmt.Errorf("cannot decode the answer: %w", err)
		}
	}
	return nil
}

// reason makes an error of the body of an answer that is one: the message of an ErrorReply, or the text that it is.
func reason(body io.Reader) error {
	text, _ := io.ReadAll(io.LimitReader(body, maxReason))
	var reply agentpoll.ErrorReply
	switch err := json.Unmarshal(text, &reply); {
	case err == nil && reply.Error.Message != "":
		return errors.New(reply.Error.Message)
	case !utf8.Valid(text):
		return errors.New("the reason is not text")
	}
	return errors.New(strings.TrimSpace(string(text)))
}

// retryAfter reads both forms of the header; 0 when there is none.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(v); err == nil {
		return max(0, min(time.Duration(seconds), time.Hour/time.Second)*time.Second)
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(t))
	}
	return 0
}

// withoutURL takes off what callError says already.
func withoutURL(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err
	}
	return err
}

// commandPath fills a command's id into a path of the protocol.
func commandPath(path, id string) string { return strings.Replace(path, "{id}", url.PathEscape(id), 1) }
