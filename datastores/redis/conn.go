package redis

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

const (
	callTimeout = 10 * time.Second
	maxReply    = 1 << 20  // bytes of one text
	maxList     = 32 << 20 // bytes of all texts of a list
	maxItems    = 1 << 18
)

// conn is a connection that speaks RESP2 (https://redis.io/docs/latest/develop/reference/protocol-spec), as much of it
// as the guest's few calls need.
type conn struct {
	net.Conn
	r       *bufio.Reader
	unwatch func() bool
}

// replyError is an error that the server answered: a code, such as LOADING, and text.
type replyError string

func (e replyError) Error() string { return string(e) }

// dial connects to the server's socket for calls that must be over when ctx is, or after callTimeout. Close must be called.
func (m *Manager) dial(ctx context.Context) (*conn, error) {
	connecting, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	nc, err := m.data.Dial(connecting, socketFile)
	if err != nil {
		return nil, err
	}
	return newConn(ctx, nc)
}

// dialTCP is dial for the server of another machine, plainly or as secure has it.
func dialTCP(ctx context.Context, address string, secure *tls.Config) (*conn, error) {
	connecting, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var dialer interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	} = &net.Dialer{}
	at := port
	if secure != nil {
		dialer, at = &tls.Dialer{Config: secure}, tlsPort
	}
	nc, err := dialer.DialContext(connecting, "tcp", net.JoinHostPort(address, strconv.Itoa(at)))
	if err != nil {
		return nil, err
	}
	return newConn(ctx, nc)
}

func newConn(ctx context.Context, nc net.Conn) (*conn, error) {
	c := &conn{Conn: nc, r: bufio.NewReader(nc)}
	if err := c.allow(callTimeout); err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	c.unwatch = context.AfterFunc(ctx, func() { _ = nc.Close() })
	return c, nil
}

// allow gives what follows that long.
func (c *conn) allow(d time.Duration) error { return c.SetDeadline(time.Now().Add(d)) }

func (c *conn) Close() error {
	c.unwatch()
	return c.Conn.Close()
}

// call sends one command and returns its reply, which is no array.
func (c *conn) call(args ...string) (string, error) {
	_, unsent := c.Write(request(args))
	reply, err := readReply(c.r)
	if refused := replyError(""); unsent != nil && !errors.As(err, &refused) { // else the server has said why it hung up
		return "", unsent
	}
	return reply, err
}

// all sends commands at once and returns their replies, none of which is an array. A refusal that has passes in it, if that is not "", counts
// as the reply "". All replies are read, so that the connection can be used on.
func (c *conn) all(commands [][]string, passes string) (replies []string, err error) {
	var b []byte
	for _, args := range commands {
		b = append(b, request(args)...)
	}
	if _, err := c.Write(b); err != nil {
		return nil, err
	}
	var first error
	for range commands {
		reply, err := readReply(c.r)
		var refused replyError
		switch {
		case err == nil || errors.As(err, &refused) && passes != "" && strings.Contains(string(refused), passes):
		case errors.As(err, &refused):
			first = cmp.Or(first, err)
		default:
			return nil, err
		}
		replies = append(replies, reply)
	}
	return replies, first
}

// list sends one command and returns its reply, an array of texts.
func (c *conn) list(args ...string) ([]string, error) {
	if _, err := c.Write(request(args)); err != nil {
		return nil, err
	}
	return readList(c.r)
}

func request(args []string) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b
}

func readReply(r *bufio.Reader) (string, error) {
	kind, rest, err := readLine(r)
	if err != nil {
		return "", err
	}
	switch kind {
	case '+', ':':
		return rest, nil
	case '-':
		return "", replyError(rest)
	case '$':
		n, err := strconv.Atoi(rest)
		if err != nil || n < -1 || n > maxReply {
			return "", fmt.Errorf("a reply of %q bytes", rest)
		}
		if n < 0 {
			return "", nil
		}
		b := make([]byte, n+len("\r\n"))
		_, err = io.ReadFull(r, b)
		return string(b[:n]), err
	}
	return "", fmt.Errorf("a reply of an unknown kind: %.40q", string(kind)+rest)
}

// readList reads an array of texts. An error in it is the first one's; the rest is read all the same.
func readList(r *bufio.Reader) ([]string, error) {
	kind, rest, err := readLine(r)
	if err != nil {
		return nil, err
	}
	if kind == '-' {
		return nil, replyError(rest)
	}
	n, err := strconv.Atoi(rest)
	if kind != '*' || err != nil || n < 0 || n > maxItems {
		return nil, fmt.Errorf("want a list, got %.40q", string(kind)+rest)
	}
	var texts []string
	var first error
	for size := 0; len(texts) < n; {
		text, err := readReply(r)
		if refused := replyError(""); errors.As(err, &refused) {
			first = errors.Join(first, err)
		} else if err != nil {
			return nil, err
		}
		if size += len(text); size > maxList {
			return nil, fmt.Errorf("a list of more than %d bytes", maxList)
		}
		texts = append(texts, text)
	}
	return texts, first
}

// readLine reads the first line of a reply: its kind and what follows.
func readLine(r *bufio.Reader) (kind byte, rest string, err error) {
	line, err := r.ReadSlice('\n') // an error when it is longer than r's buffer
	if err != nil {
		return 0, "", err
	}
	text := strings.TrimSuffix(string(line), "\r\n")
	if text == "" {
		return 0, "", errors.New("an empty reply")
	}
	return text[0], text[1:], nil
}

// parseInfo reads the reply of INFO.
func parseInfo(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && !strings.HasPrefix(name, "#") {
			fields[name] = value
		}
	}
	return fields
}
