package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// Config says who the agent is and what it runs.
type Config struct {
	// Gateways are base URLs. The first one is chosen at random, the next one in turn when it fails.
	Gateways []string
	// CA pins the gateways: hex SHA-256 of the certificate (DER) of a CA in the chain that they present, or several with commas
	// between them. No other root is trusted then. "" means what Token says, and the system's roots when that says nothing.
	// What gateways say later replaces all of it, until CA is changed.
	CA string
	// AllowHTTP permits http:// gateways. The credential travels in clear then, and whoever takes a gateway's port gets it: on
	// loopback, too.
	AllowHTTP bool
	// Dir is the agent's own directory, made with mode 0700 when it is not there. It must not be shared or copied.
	Dir string

	Kind     agentpoll.Kind
	Token    string          // single-use enrolment token; ignored when Dir holds an enrolled identity
	Version  string          // of the agent's binary
	Manifest json.RawMessage // sent at enrolment
	// OnEnrolled, when set, is called once in every Run, after enrolment and before the first poll, with what the
	// gateway said at enrolment. Its error ends Run.
	OnEnrolled func(agentpoll.EnrollReply) error

	Handler Handler
	// Status, when set, is asked every StatusEvery and at [Agent.StatusChanged]. When its answer differs from the one
	// before it is sent at once. It must return when ctx ends.
	Status      func(ctx context.Context) json.RawMessage
	StatusEvery time.Duration // 0: 10 s
	Long        int           // how many long commands run at once. 0: one at a time

	Hold        time.Duration // how long a poll is held until a gateway says otherwise. 0: 50 s
	Grace       time.Duration // how long Run may go on after its context ended. 0: 10 s
	RotateEvery time.Duration // how old a credential may get. 0: 24 h; negative: it is never rotated
	Log         *slog.Logger  // nil: nothing is logged

	// Dial connects to a gateway. nil: the net package's dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Validate returns every problem of the configuration, joined.
func (c Config) Validate() error {
	var errs []error
	if len(c.Gateways) == 0 {
		errs = append(errs, errors.New("gateways: want at least one base URL"))
	}
	for _, g := range c.Gateways {
		if err := c.validateGateway(g); err != nil {
			errs = append(errs, fmt.Errorf("gateway %q: %w", g, err))
		}
	}
	if _, err := agentpoll.ParseCAs(c.CA); err != nil {
		errs = append(errs, fmt.Errorf("ca: %w", err))
	}
	if c.Dir == "" {
		errs = append(errs, errors.New("dir: want the agent's own directory"))
	}
	if c.Kind != agentpoll.Guest && c.Kind != agentpoll.Host {
		errs = append(errs, fmt.Errorf("kind %q: want %q or %q", c.Kind, agentpoll.Guest, agentpoll.Host))
	}
	if c.Handler == nil {
		errs = append(errs, errors.New("handler: want one"))
	}
	return errors.Join(errs...)
}

func (c Config) validateGateway(gateway string) error {
	u, err := url.Parse(gateway)
	switch {
	case err != nil:
		return err
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return errors.New("want https://host or https://host:port")
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return errors.New("want a base URL without user, query and fragment")
	case u.Scheme == "https":
		return nil
	case c.CA != "":
		return errors.New("a pinned CA needs https")
	case !c.AllowHTTP:
		return errors.New("plain http lets whoever takes the port act for the gateway; use https, or allow it with -allow-http behind a proxy that adds TLS")
	}
	return nil
}

func (c Config) withDefaults() Config {
	c.Long = cmp.Or(c.Long, 1)
	c.StatusEvery = cmp.Or(c.StatusEvery, 10*time.Second)
	c.Hold = cmp.Or(c.Hold, 50*time.Second)
	c.Grace = cmp.Or(c.Grace, 10*time.Second)
	c.RotateEvery = cmp.Or(c.RotateEvery, 24*time.Hour)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	return c
}
