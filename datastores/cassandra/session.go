package cassandra

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

const callTimeout = 30 * time.Second

// session is a connection to the server.
type session struct{ *gocql.Session }

// with runs do under the guest's own account. Each time it connects anew: that is seldom, and no connection can then be left over from
// before a restart.
func (m *Manager) with(ctx context.Context, do func(context.Context, *session) error) error {
	in, err := m.loadMember()
	if err != nil {
		return err
	}
	s, err := m.dialOwn(ctx, in)
	if err != nil {
		return told(err)
	}
	defer s.Close()
	if err = do(ctx, s); err != nil && ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	return err
}

// dialOwn logs in to the guest's own server.
func (m *Manager) dialOwn(ctx context.Context, in *member) (*session, error) {
	if in.isOut() {
		secure, err := m.closedTLS()
		if err != nil {
			return nil, err
		}
		return m.dial(ctx, m.env.Address, adminUser, "", secure)
	}
	password, err := m.adminPassword()
	if err != nil {
		return nil, fmt.Errorf("the guest's password for the server cannot be read (is the instance prepared?): %w", err)
	}
	secure, err := m.ownTLS()
	if err != nil {
		return nil, err
	}
	return m.dial(ctx, m.env.Address, adminUser, password, secure)
}

// dial logs in to a server. Close must be called.
func (m *Manager) dial(ctx context.Context, address, user, password string, secure *tls.Config) (*session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	patience := callTimeout
	if deadline, ok := ctx.Deadline(); ok {
		patience = max(min(patience, time.Until(deadline)), time.Millisecond)
	}
	c := gocql.NewCluster(address)
	c.Port, c.ProtoVersion, c.NumConns, c.Consistency = port, 5, 1, gocql.LocalQuorum
	c.Timeout, c.ConnectTimeout, c.WriteTimeout = patience, patience, patience
	c.Authenticator = gocql.PasswordAuthenticator{Username: user, Password: password}
	c.Dialer = service.Dialer(m.env.Address)
	c.DisableInitialHostLookup, c.ReconnectInterval = true, 0
	c.ReconnectionPolicy = &gocql.ConstantReconnectionPolicy{MaxRetries: 1, Interval: time.Millisecond}
	c.Metadata.CacheMode = gocql.Disabled
	c.Events.DisableNodeStatusEvents, c.Events.DisableTopologyEvents, c.Events.DisableSchemaEvents = true, true, true
	if secure != nil {
		c.SslOpts = &gocql.SslOptions{Config: secure}
	}
	s, err := c.CreateSession()
	if err != nil {
		return nil, err
	}
	return &session{s}, nil
}

// exec runs statements in order until one fails.
func (s *session) exec(ctx context.Context, statements ...string) error {
	for _, statement := range statements {
		if err := s.Query(statement).ExecContext(ctx); err != nil {
			return told(err)
		}
	}
	return nil
}

// one reads the columns of the only row of an answer.
func (s *session) one(ctx context.Context, statement string, to ...any) error {
	return s.Query(statement).ScanContext(ctx, to...)
}

// each calls row for every row of an answer, whose columns are in to then.
func (s *session) each(ctx context.Context, statement string, row func(), to ...any) error {
	rows := s.Query(statement).IterContext(ctx)
	for rows.Scan(to...) {
		row()
	}
	return rows.Close()
}

// told gives an error of the server the kind that it has for tenants. What it says never quotes a password: only hashes are sent.
func told(err error) error {
	if isShort(err) {
		return datastores.Errorf(datastores.Unavailable, "the server does not reach enough of those that have it: %v", err)
	}
	var refused gocql.RequestError
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Code() {
	case gocql.ErrCodeAlreadyExists:
		return datastores.Errorf(datastores.Exists, "%s", refused.Message())
	case gocql.ErrCodeInvalid, gocql.ErrCodeSyntax, gocql.ErrCodeConfig:
		return datastores.Errorf(datastores.Invalid, "the server refuses it: %s", refused.Message())
	case gocql.ErrCodeOverloaded, gocql.ErrCodeBootstrapping:
		return datastores.Errorf(datastores.Unavailable, "the server is busy: %s", refused.Message())
	}
	return err
}

// isRefused reports whether the server answers, and does not take the guest's account.
func isRefused(err error) bool {
	return err != nil && strings.Contains(err.Error(), "password are incorrect")
}

// isShort reports whether the server answers, and reaches too few others to look up an account, or anything.
func isShort(err error) bool {
	var refused gocql.RequestError
	if errors.As(err, &refused) && slices.Contains([]int{gocql.ErrCodeUnavailable, gocql.ErrCodeReadTimeout, gocql.ErrCodeReadFailure, gocql.ErrCodeWriteTimeout, gocql.ErrCodeWriteFailure}, refused.Code()) {
		return true
	}
	return err != nil && strings.Contains(err.Error(), "Unable to perform authentication")
}

// name is an identifier in CQL.
func name(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// text is a text in CQL.
func text(s string) string { return `'` + strings.ReplaceAll(s, `'`, `''`) + `'` }
