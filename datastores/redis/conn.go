package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores/service"
)

const (
	callTimeout = 10 * time.Second
	maxReply    = 1 << 20 // bytes
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

// dial connects to a socket for calls that must be over when ctx is, or after callTimeout. Close must be called.
func dial(ctx context.Context, socket string) (*conn, error) {
	connecting, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	nc, err := service.DialUnix(connecting, socket)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, r: bufio.NewReader(nc)}
	if err := nc.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	c.unwatch = context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	return c, nil
}

func (c *conn) Close() error {
	c.unwatch()
	return c.Conn.Close()
}

// call sends one command and returns its reply, which is no array.
func (c *conn) call(args ...string) (string, error) {
	if _, err := c.Write(request(args)); err != nil {
		return "", err
	}
	return readReply(c.r)
}

func request(args []string) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b
}

func readReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n') // an error when it is longer than r's buffer
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(string(line), "\r\n")
	if text == "" {
		return "", errors.New("an empty reply")
	}
	switch kind, rest := text[0], text[1:]; kind {
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
	return "", fmt.Errorf("a reply of an unknown kind: %.40q", text)
}
