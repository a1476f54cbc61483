package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

// Config is what [New] makes a [Server] of. Only Backend is required.
type Config struct {
	Backend Backend
	Log     *slog.Logger // nil: no log
	// Epoch names the etcd cluster as it is now: see [agentpoll.Cursor]. It must hold no space or control character.
	// [Server.SetEpoch] changes it.
	Epoch string
	// Hold is how long a poll is held at most; each is held for a random part less, up to a third. 0: 50 s.
	Hold time.Duration
	// Expiry is how long an agent may be silent after its last poll ended until it is told absent. 0: 75 s.
	Expiry time.Duration
	// MaxPolls is how many polls may be parked; more are answered with 429. 0: 100,000.
	MaxPolls int
	// DrainWindow is the time over which [Server.Drain] spreads its answers. 0: 5 s.
	DrainWindow time.Duration
	// EnrollRate is how many enrolments a second are taken of one remote address, after a burst of ten times as many.
	// 0: 5.
	EnrollRate float64
	// AgentBytes is how many bytes a second are taken of one agent, after a burst of two minutes' worth; more is 429. What agents
	// send is kept, and a guest's machine may be its tenant's. 0: no limit.
	AgentBytes float64
	// Refused is told the name of a limit that refused a call: "agent_bytes", "progress", "certificates", "enrol" or "unknown_credentials". Nil: nobody is.
	Refused func(limit string)
	// RemoteIP tells who calls, for the limits. Nil: the address of the connection. Behind a proxy it should be what
	// a trusted proxy says.
	RemoteIP func(*http.Request) string
	// Outage reports whether an error of Authenticate or Presence says that the Backend can serve no agent at present: then nobody is told
	// absent before one more Expiry has passed. What else fails postpones nothing: its agent has been heard of. Nil: every error is one.
	Outage func(error) bool
}

// Validate reports all that is wrong with the Config.
func (c Config) Validate() error {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if c.Backend == nil {
		add("Backend is missing")
	}
	if strings.ContainsFunc(c.Epoch, func(r rune) bool { return r <= ' ' || r > '~' }) {
		add("Epoch %q: want printable ASCII without spaces", c.Epoch)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"Hold", c.Hold}, {"Expiry", c.Expiry}, {"DrainWindow", c.DrainWindow}} {
		if d.value < 0 {
			add("%s %s: want a positive duration, or 0 for the default", d.name, d.value)
		}
	}
	if c.MaxPolls < 0 {
		add("MaxPolls %d: want a positive number, or 0 for the default", c.MaxPolls)
	}
	if c.EnrollRate < 0 {
		add("EnrollRate %g: want a positive number, or 0 for the default", c.EnrollRate)
	}
	if c.AgentBytes < 0 {
		add("AgentBytes %g: want a positive number, or 0 for no limit", c.AgentBytes)
	}
	if len(problems) > 0 {
		return fmt.Errorf("agentpoll server: %w", errors.Join(problems...))
	}
	return nil
}

func (c Config) withDefaults() Config {
	setDefault(&c.Log, slog.New(slog.DiscardHandler))
	setDefault(&c.Hold, 50*time.Second)
	setDefault(&c.Expiry, 75*time.Second)
	setDefault(&c.MaxPolls, 100_000)
	setDefault(&c.DrainWindow, 5*time.Second)
	setDefault(&c.EnrollRate, 5)
	if c.RemoteIP == nil {
		c.RemoteIP = remoteIP
	}
	if c.Refused == nil {
		c.Refused = func(string) {}
	}
	if c.Outage == nil {
		c.Outage = func(error) bool { return true }
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func remoteIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
