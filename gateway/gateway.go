package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cofferdb/coffer/agentpoll/server"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/agents"
	"github.com/cofferdb/coffer/gateway/api"
	"github.com/cofferdb/coffer/gateway/audit"
	"github.com/cofferdb/coffer/gateway/blobstore"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/drills"
	"github.com/cofferdb/coffer/gateway/due"
	"github.com/cofferdb/coffer/gateway/identity"
	"github.com/cofferdb/coffer/gateway/keyring"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/maintenance"
	"github.com/cofferdb/coffer/gateway/modules"
	"github.com/cofferdb/coffer/gateway/objectives"
	"github.com/cofferdb/coffer/gateway/pitr"
	"github.com/cofferdb/coffer/gateway/plan"
	"github.com/cofferdb/coffer/gateway/schedules"
	"github.com/cofferdb/coffer/gateway/segments"
	"github.com/cofferdb/coffer/gateway/takeover"
	"github.com/cofferdb/coffer/gateway/transfer"
	"github.com/cofferdb/coffer/gateway/verify"
)

// Config is what a gateway is made of. Fields without a default must be set.
type Config struct {
	Store    *etcdschema.Store
	Keys     *keyring.Keyring
	Identity identity.Authenticator
	// IdentityService answers below /identity; nil: there is none (a real Keystone, or static tokens only).
	IdentityService http.Handler
	Log             *slog.Logger
	Version         string
	Address         string        // where others reach it, for operators
	Hold            time.Duration // how long a poll is held; 0: 50 s
	// Expiry is how long an agent may be silent until calls to it are refused; 0: half as long again as Hold, and at least
	// 15 s more than it.
	Expiry time.Duration
	Region string // "": RegionOne
	// AgentURLs are the base URLs that guests on machines of their own dial. Empty: no instance without a host.
	AgentURLs []string
	// AgentCAs are those that agents know gateways by: hex SHA-256 of certificates. Tokens and answers to agents name them. There are
	// two while one takes the other's place; none when agents must know gateways otherwise.
	AgentCAs []string
	// TrustProxy believes X-Forwarded-Proto, X-Forwarded-Host and X-Forwarded-For.
	TrustProxy bool
	// Origins are those of pages that browsers may let call the API and the identity service; see [CheckOrigin].
	Origins []string
	// Limits are how much anybody may send, hold or do; nil: those of the table.
	Limits *limits.Limits
	// Blobs holds backups and published logs. nil: there are none of either.
	Blobs blobstore.Store
	// PresignBlobs sends agents straight to Blobs, when it is a blobstore.Presigner that they can reach.
	PresignBlobs bool
}

// sessionTTL is how long etcd remembers a gateway that was killed.
const sessionTTL = 15 * time.Second

// Gateway serves one process's share of the requests. Make it with [Open], let it listen with Serve.
type Gateway struct {
	Config
	id          string
	log         *slog.Logger
	control     *control.Plane
	backend     *agents.Backend
	schedules   *schedules.Schedules
	recovery    *pitr.Recovery
	verifier    *verify.Verifier
	drills      *drills.Drills
	modules     *modules.Modules
	recoverable *objectives.Objectives
	upkeep      *maintenance.Maintenance
	polls       *server.Server
	session     *etcdschema.Session
	metrics     *metrics
	started     time.Time

	unannounced chan struct{} // holds a token when etcd does not know of the gateway

	ready    readiness
	space    atomic.Pointer[etcdschema.Space] // as last seen
	draining atomic.Bool
}

// settle fills in what a configuration leaves out.
func (cfg *Config) settle() (err error) {
	if cfg.Hold == 0 {
		cfg.Hold = 50 * time.Second
	}
	if cfg.Region == "" {
		cfg.Region = "RegionOne"
	}
	if cfg.Expiry == 0 {
		cfg.Expiry = cfg.Hold + max(cfg.Hold/2, sessionTTL)
	}
	if cfg.Limits == nil {
		cfg.Limits, err = limits.New()
	}
	return err
}

// Open starts a gateway's work with etcd. ctx limits the opening only; Close ends it.
func Open(ctx context.Context, cfg Config) (*Gateway, error) {
	if err := cfg.settle(); err != nil {
		return nil, err
	}
	g := &Gateway{Config: cfg, id: plan.NewID(), started: time.Now(), unannounced: make(chan struct{}, 1)}
	g.log = cfg.Log.With("gateway_id", g.id)
	epoch, err := g.Store.EnsureEpoch(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot read etcd: %w", err)
	}
	if err := takeover.Keys(ctx, g.Store); err != nil {
		return nil, err
	}
	if err := keyring.Check(ctx, g.Store, g.Keys); err != nil {
		return nil, err
	}
	if err := takeover.Sets(ctx, g.Store, g.Keys); err != nil {
		return nil, err
	}
	private, err := control.CommandKey(ctx, g.Store, g.Keys)
	if err != nil {
		return nil, err
	}
	signer, err := plan.NewSigner(private, g.AgentCAs)
	if err != nil {
		return nil, err
	}
	g.control = control.New(control.Config{
		Store: g.Store, Keys: g.Keys, Log: g.log, Limits: g.Limits, Signer: signer, Expiry: g.Expiry, Blobs: g.Blobs, AgentURLs: g.AgentURLs,
	})
	g.backend = agents.New(g.control, g.id)
	g.polls, err = server.New(server.Config{
		Backend: g.backend, Log: g.log, Hold: g.Hold, Expiry: g.Expiry, Epoch: epoch.ID, EnrollRate: g.Limits.EnrolRate(),
		AgentBytes: float64(max(g.Limits.Value("agent_bytes"), 0)), Refused: g.Limits.Refused, RemoteIP: api.RemoteIP(g.TrustProxy), Outage: etcdschema.Outage,
	})
	if err != nil {
		return nil, err
	}
	if g.session, err = g.Store.NewSession(ctx, sessionTTL, g.sessionRenewed); err != nil {
		g.polls.Close()
		return nil, err
	}
	g.control.Polls = g.polls
	g.backend.Join(g.polls, g.session)
	g.recovery, g.verifier = &pitr.Recovery{Control: g.control}, &verify.Verifier{Control: g.control}
	g.drills = &drills.Drills{Control: g.control, Recovery: g.recovery}
	g.modules = &modules.Modules{Control: g.control}
	g.schedules = &schedules.Schedules{Control: g.control, Drills: g.drills}
	g.upkeep = &maintenance.Maintenance{Control: g.control}
	g.recoverable = &objectives.Objectives{Control: g.control}
	g.metrics = newMetrics(g)
	g.control.Go(func(ctx context.Context) {
		if err := g.backend.Watch(ctx); !errors.Is(err, context.Canceled) {
			g.log.Error("the watch ended", "err", err)
		}
	})
	g.announce()
	g.control.Go(g.announceLater)
	g.control.Go(func(ctx context.Context) { _ = g.backend.WatchGateways(ctx) })
	g.control.Go(g.watchSpace)
	g.control.Go(g.control.WatchCatalogue)
	g.control.Begin()
	for _, kind := range []due.Kind{g.modules.Kind(), g.upkeep.Kind()} {
		g.control.Go(due.New(g.Store, g.log, g.control.Now, kind).Run)
	}
	if g.Blobs != nil {
		for _, kind := range []due.Kind{g.schedules.Kind(), g.recovery.Kind(), g.verifier.Kind(), g.drills.Kind(), g.recoverable.Kind()} {
			g.control.Go(due.New(g.Store, g.log, g.control.Now, kind).Run)
		}
	}
	g.control.Go(func(ctx context.Context) { takeover.Dues(ctx, g.Store, g.log) })
	return g, nil
}

// announce writes the gateway's own records, again after its session was lost.
func (g *Gateway) announce() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	record := etcdschema.Gateway{Version: g.Version, Address: g.Address, Started: g.started.UTC(), Signs: true, Dues: true, CAs: g.AgentCAs}
	if err := g.backend.Announce(ctx, record); err != nil {
		g.log.Warn("cannot announce the gateway; trying again", "err", err)
		select {
		case g.unannounced <- struct{}{}:
		default:
		}
	}
}

// announceEvery is how long a gateway waits that could not announce itself.
const announceEvery = 5 * time.Second

// announceLater announces what could not be announced at once, until ctx ends.
func (g *Gateway) announceLater(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.unannounced:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(announceEvery):
			g.announce()
		}
	}
}

// sessionRenewed puts what was on the lost session again.
func (g *Gateway) sessionRenewed() {
	g.announce()
	g.polls.Reannounce()
}

// Polls tells what the agents' polls do here.
func (g *Gateway) Polls() server.Stats { return g.polls.Stats() }

// Handler answers every request: the agent protocol, the identity service, the API.
func (g *Gateway) Handler() http.Handler {
	clients := api.New(api.Config{
		Control: g.control, Schedules: g.schedules, Recovery: g.recovery, Verifier: g.verifier, Drills: g.drills, Objectives: g.recoverable, Maintenance: g.upkeep, Modules: g.modules, Auditor: &audit.Auditor{Control: g.control}, Porter: transfer.New(g.control), Identity: g.Identity, Region: g.Region, TrustProxy: g.TrustProxy, Ready: g.readyToServe, Answered: g.metrics.observe,
	}).Handler()
	clients = allowOrigins(g.Origins, clients)
	polls, identity := g.polls.Handler(), g.IdentityService
	if identity != nil {
		identity = allowOrigins(g.Origins, identity)
	}
	blobs := &segments.Server{
		Blobs: g.Blobs, Presign: g.PresignBlobs, Log: g.log, Authenticate: g.polls.Authenticate,
		MayWrite: g.backend.MayWriteBackup, MayRead: g.backend.MayReadBackup, MayWriteLog: g.backend.MayWriteLog, MayDiscardLog: g.backend.MayDiscardLog,
		Refused: g.Limits.Refused,
	}
	// An http.ServeMux would redirect a path with dots in it to the path of something else: the DELETE of a database
	// called .. would become that of its instance.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path + "/"; {
		case blobs.Serve(w, r):
		case strings.HasPrefix(path, "/agent/v1/"):
			polls.ServeHTTP(w, r)
		case strings.HasPrefix(path, "/identity/") && identity != nil:
			g.Limits.InTime(w, r)
			identity.ServeHTTP(w, r)
		default:
			g.Limits.InTime(w, r)
			clients.ServeHTTP(w, r)
		}
	})
}

// Serve answers requests on l until Shutdown.
func (g *Gateway) Serve(l net.Listener) (*http.Server, <-chan error) {
	srv := server.HTTPServer(g.Handler())
	srv.ErrorLog = slog.NewLogLogger(g.log.Handler(), slog.LevelDebug)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(g.polls.Listener(l)) }()
	return srv, done
}

// Close drains and ends the gateway: parked polls are answered in turn, requests under way finish, the session's records
// go. ctx limits it.
func (g *Gateway) Close(ctx context.Context, srv *http.Server) error {
	g.draining.Store(true)
	errs := []error{g.polls.Drain(ctx)}
	if srv != nil {
		errs = append(errs, srv.Shutdown(ctx))
	}
	g.polls.Close()
	g.control.Close()
	return errors.Join(append(errs, g.session.Close(ctx))...)
}
