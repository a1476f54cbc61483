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
	maxReason   = 300              // bytes of an error answer's body that are worth a log line
)

// client makes the calls of the protocol, at one gateway at a time. It may be used concurrently.
type client struct {
	cfg      Config
	identity *identity
	log      *slog.Logger

	mu      sync.Mutex
	current int // index into cfg.Gateways
	base    *url.URL
	http    *http.Client
}

func newClient(cfg Config, id *identity) *client {
	c := &client{cfg: cfg, identity: id, log: cfg.Log, current: rand.IntN(len(cfg.Gateways))}
	c.connect()
	return c
}

// connect makes a new transport for the current gateway; mu is held, or nobody else knows c.
func (c *client) connect() {
	c.base, _ = url.Parse(strings.TrimSuffix(c.cfg.Gateways[c.current], "/")) // Validate has parsed it
	c.http = &http.Client{
		Transport:     newTransport(c.cfg, c.base),
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
}

// answer is a 2xx answer.
type answer struct {
	status int
	header http.Header
}

// call posts in and decodes a 200 answer into out. The context must bring the deadline. Every error is a *callError.
// The credential is chosen here, and changed at once when a rotation left two that might be right.
func (c *client) call(ctx context.Context, name, path string, in, out any) (answer, error) {
	for {
		begun := time.Now()
		credential := c.identity.credential()
		a, base, err := c.post(ctx, name, path, credential, in, out)
		switch {
		case err == nil:
			if err := c.identity.accepted(credential); err != nil {
				c.log.Error("a rotated credential is in use and not saved yet", "err", err)
			}
			return a, nil
		case statusOf(err) == http.StatusUnauthorized && c.identity.rejected(credential):
			continue
		case elsewhere(ctx, err, time.Since(begun)):
			c.moveOn(base)
		}
		return a, err
	}
}

func (c *client) post(ctx context.Context, name, path string, cred agentpoll.Credential, in, out any) (
	a answer, base *url.URL, err error,
) {
	c.mu.Lock()
	base, httpClient := c.base, c.http
	c.mu.Unlock()

	fail := &callError{call: name, gateway: base.String()}
	body, err := json.Marshal(in)
	if err != nil {
		fail.err = err
		return a, base, fail
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base.String()+path, bytes.NewReader(body))
	if err != nil {
		fail.err = err
		return a, base, fail
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "coffer-agent/"+c.cfg.Version)
	if cred.AgentID != "" {
		req.Header.Set("Authorization", cred.Header())
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		fail.err = withoutURL(err)
		return a, base, fail
	}
	defer resp.Body.Close()
	a, fail.status = answer{status: resp.StatusCode, header: resp.Header}, resp.StatusCode
	if fail.err = readAnswer(resp, out); fail.err != nil {
		fail.retryAfter = retryAfter(resp.Header)
		return a, base, fail
	}
	return a, base, nil
}

// readAnswer decodes a 200, takes any other 2xx as it is, and makes an error of everything else.
func readAnswer(resp *http.Response, out any) error {
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		reason, _ := io.ReadAll(io.LimitReader(resp.Body, maxReason))
		if !utf8.Valid(reason) {
			return errors.New("the reason is not text")
		}
		return errors.New(strings.TrimSpace(string(reason)))
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
