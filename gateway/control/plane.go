// Package control says what may be done with instances, backups, groups, quotas and hosts, and does it: on behalf of a Caller, who may be
// a client, a schedule or a failover. It knows no HTTP. Each change is one decision over what was read, and one transaction.
package control

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/blobstore"
	"github.com/cofferdb/coffer/gateway/identity"
	"github.com/cofferdb/coffer/gateway/keyring"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Config is what a control plane is made of. Store, Keys, Log, Limits, Signer, Polls and Expiry must be set.
type Config struct {
	Store  *etcdschema.Store
	Keys   *keyring.Keyring
	Log    *slog.Logger
	Limits *limits.Limits
	Signer plan.Signer
	// Polls tells whose polls this gateway holds.
	Polls Polls
	// Expiry is how long an agent may be silent until calls to it are refused.
	Expiry time.Duration
	// Blobs holds backups and published logs. nil: there are none of either.
	Blobs blobstore.Store
	// AgentURLs are the base URLs that guests on machines of their own dial. Empty: no instance without a host.
	AgentURLs []string
	Now       func() time.Time // nil: the system's clock
}

// Polls tells which agents are at this gateway. The server of the agent protocol is one.
type Polls interface {
	// Holds reports whether the agent's poll is held here.
	Holds(agentID string) bool
	// LastContact is when the agent last called here; false: never.
	LastContact(agentID string) (time.Time, bool)
}

// Plane is the control plane of one gateway. Make it with [New].
type Plane struct {
	Config
	allSign atomic.Bool // every gateway that was there signs

	// FailedOver hears of each failover that this gateway has committed, for how long its set had no source; nil: nobody does. It is set
	// before anything is committed.
	FailedOver func(time.Duration)

	waiters       waiters
	seen          seen
	conversations conversations

	work    sync.WaitGroup  // goroutines that end with cancel
	running context.Context // ends with cancel
	cancel  context.CancelFunc
}

// New returns a control plane. Close ends it.
func New(cfg Config) *Plane {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cp := &Plane{Config: cfg}
	cp.running, cp.cancel = context.WithCancel(context.Background())
	return cp
}

// Go runs f beside everything else. Its context ends when the plane closes, and Close waits for it.
func (cp *Plane) Go(f func(ctx context.Context)) { cp.work.Go(func() { f(cp.running) }) }

// Close ends what the plane does by itself, and waits for it.
func (cp *Plane) Close() {
	cp.cancel()
	cp.work.Wait()
}

// Caller is on whose behalf something is done: a client's, a schedule's, a failover's. Its project has been checked against what it may do.
type Caller struct {
	Project     string // whose objects it is about
	Who         identity.Who
	Request     string // id of the request, for logs and timelines; "": there is none
	Traceparent string // of W3C Trace Context; "": it is part of no trace
}

// Stamp writes a time as Trove does: UTC without zone or fraction. gophercloud reads nothing else.
func Stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05") }

// LastPart is the last part of a path or URL: clients may name a flavor or configuration by its href.
func LastPart(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }
