package opmsg

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Client is one connection to a server. It is not for several goroutines at once.
type Client struct {
	conn net.Conn
	id   int32
}

// CommandError is what a server answers to a command that it refuses.
type CommandError struct {
	Code    int32
	Name    string // such as UserNotFound
	Message string
}

func (e *CommandError) Error() string { return fmt.Sprintf("%s (%d %s)", e.Message, e.Code, e.Name) }

// HasCode reports whether err is a server's refusal with one of the codes.
func HasCode(err error, codes ...int32) bool {
	var refused *CommandError
	if !errors.As(err, &refused) {
		return false
	}
	for _, code := range codes {
		if refused.Code == code {
			return true
		}
	}
	return false
}

// New makes a client of a connection, by TLS unless config is nil. It closes conn when that fails.
func New(ctx context.Context, conn net.Conn, config *tls.Config) (*Client, error) {
	if config == nil {
		return &Client{conn: conn}, nil
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("TLS: %w", err), conn.Close())
	}
	return &Client{conn: secure}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Call has the server run a command in a database and returns its reply; a *[CommandError] when the server refuses it. It ends with ctx,
// and the connection is of no use after that.
func (c *Client) Call(ctx context.Context, database string, command bson.D) (bson.Raw, error) {
	reply, err := c.call(ctx, append(command[:len(command):len(command)], bson.E{Key: "$db", Value: database}))
	var refused *CommandError
	if err != nil && !errors.As(err, &refused) {
		return nil, fmt.Errorf("%s: %w", command[0].Key, errors.Join(ctx.Err(), err))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", command[0].Key, err)
	}
	return reply, nil
}

func (c *Client) call(ctx context.Context, command bson.D) (bson.Raw, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	body, err := bson.Marshal(command)
	if err != nil {
		return nil, err
	}
	c.id++
	if err := WriteBody(c.conn, c.id, 0, body); err != nil {
		return nil, err
	}
	h, rest, err := ReadMessage(c.conn)
	if err != nil {
		return nil, err
	}
	if h.Op != opMsg || h.ResponseTo != c.id || len(rest) < 5 || rest[4] != kindBody {
		return nil, errors.New("the server's answer is to no question of this connection")
	}
	reply := bson.Raw(rest[5:])
	if err := reply.Validate(); err != nil {
		return nil, fmt.Errorf("the server's answer: %w", err)
	}
	return reply, failure(reply)
}

// failure is the error that a reply tells of: of the command, or of the first write or the write concern of one.
func failure(reply bson.Raw) error {
	var r struct {
		OK          float64 `bson:"ok"`
		Code        int32   `bson:"code"`
		CodeName    string  `bson:"codeName"`
		ErrMsg      string  `bson:"errmsg"`
		WriteErrors []struct {
			Code   int32  `bson:"code"`
			ErrMsg string `bson:"errmsg"`
		} `bson:"writeErrors"`
		WriteConcernError *struct {
			Code     int32  `bson:"code"`
			CodeName string `bson:"codeName"`
			ErrMsg   string `bson:"errmsg"`
		} `bson:"writeConcernError"`
	}
	if err := bson.Unmarshal(reply, &r); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	switch {
	case r.OK != 1:
		return &CommandError{r.Code, r.CodeName, r.ErrMsg}
	case len(r.WriteErrors) > 0:
		return &CommandError{r.WriteErrors[0].Code, "WriteError", r.WriteErrors[0].ErrMsg}
	case r.WriteConcernError != nil:
		return &CommandError{r.WriteConcernError.Code, r.WriteConcernError.CodeName, r.WriteConcernError.ErrMsg}
	}
	return nil
}
