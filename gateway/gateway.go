package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/cofferdb/coffer/agentpoll/server"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/blobstore"
	"github.com/cofferdb/coffer/gateway/identity"
	"github.com/cofferdb/coffer/gateway/segments"
)

// Config is what a gateway is made of. Fields without a default must be set.
type Config struct {
	Store    *etcdschema.Store
	Keys     *Keyring
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
	// Limits are how much anybody may send, hold or do; nil: those of the table.
	Limits *Limits
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
	id       string
	log      *slog.Logger
	store    *etcdschema.Store
	keys     *Keyring
	identity identity.Authenticator
	session  *etcdschema.Session
	signer   signer
	allSign  atomic.Bool // every gateway that was there signs
	agents   *server.Server
	metrics  *metrics
	started  time.Time
	now      func() time.Time

	waiters   waiters
	problems  problems
	ready     readiness
	deadlines deadlines
	space     atomic.Pointer[etcdschema.Space] // as last seen

	conversations conversations

	removing chan struct{} // holds a place for each backup that is being removed
	draining atomic.Bool
	left     atomic.Int64    // when an agent's presence was last seen to vanish, in Unix nanoseconds
	work     sync.WaitGroup  // goroutines that end with cancel
	running  context.Context // ends with cancel
	cancel   context.CancelFunc
}

// Open starts a gateway's work with etcd. ctx limits the opening only; Close ends it.
func Open(ctx context.Context, cfg Config) (*Gateway, error) {
	g := &Gateway{
		Config: cfg, id: newID(), store: cfg.Store, keys: cfg.Keys, identity: cfg.Identity, now: time.Now, started: time.Now(),
		removing: make(chan struct{}, removals),
	}
	if g.Hold == 0 {
		g.Hold = 50 * time.Second
	}
	if g.Region == "" {
		g.Region = "RegionOne"
	}
	if g.Expiry == 0 {
		g.Expiry = g.Hold + max(g.Hold/2, sessionTTL)
	}
	if g.Limits == nil {
		limits, err := NewLimits()
		if err != nil {
			return nil, err
		}
		g.Limits = limits
	}
	g.log = cfg.Log.With("gateway_id", g.id)
	g.deadlines.overdue = g.overdue
	g.metrics = newMetrics(g)
	epoch, err := g.store.EnsureEpoch(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot read etcd: %w", err)
	}
	if err := checkKeys(ctx, g.store, g.keys); err != nil {
		return nil, err
	}
	private, err := commandKey(ctx, g.store, g.keys)
	if err == nil {
		g.signer, err = newSigner(private, g.AgentCAs)
	}
	if err != nil {
		return nil, err
	}
	g.agents, err = server.New(server.Config{
		Backend: backend{g}, Log: g.log, Hold: g.Hold, Expiry: g.Expiry, Epoch: epoch.ID, EnrollRate: g.Limits.enrolRate(),
		AgentBytes: float64(max(g.Limits.value("agent_bytes"), 0)), Refused: g.Limits.Refused, RemoteIP: RemoteIP(g.TrustProxy), Outage: etcdschema.Outage,
	})
	if err != nil {
		return nil, err
	}
	if g.session, err = g.store.NewSession(ctx, sessionTTL, g.sessionRenewed); err != nil {
		g.agents.Close()
		return nil, err
	}
	running, cancel := context.WithCancel(context.Background())
	g.running, g.cancel = running, cancel
	g.work.Go(func() {
		if err := g.watch(running); !errors.Is(err, context.Canceled) {
			g.log.Error("the watch ended", "err", err)
		}
	})
	g.work.Go(func() { g.watchSpace(running) })
	g.announce()
	return g, nil
}

// announce writes the gateway's own record, again after its session was lost.
func (g *Gateway) announce() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := g.store.Update(ctx, nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		record := etcdschema.Gateway{Version: g.Version, Address: g.Address, Started: g.started.UTC(), Signs: true, CAs: g.AgentCAs}
		return []etcdschema.Op{etcdschema.Put(etcdschema.GatewayKey(g.id), record).On(g.session)}, nil
	})
	if err != nil {
		g.log.Warn("cannot announce the gateway", "err", err)
	}
}

// sessionRenewed puts what was on the lost session again.
func (g *Gateway) sessionRenewed() {
	g.announce()
	g.agents.Reannounce()
}

// overdue is what a deadline's timer does.
func (g *Gateway) overdue(project, id string) {
	ctx, cancel := context.WithTimeout(g.running, 10*time.Second)
	defer cancel()
	rec, err := etcdschema.Get(ctx, g.store, etcdschema.InstanceKey(project, id))
	if err != nil {
		if !errors.Is(err, etcdschema.ErrNotFound) {
			g.log.Warn("an overdue operation could not be read; the next reader will move it on", "instance_id", id, "err", err)
		}
		return
	}
	if in := rec.Value; in.Operation != nil && g.now().Before(in.Operation.Deadline) {
		g.deadlines.set(in) // another gateway has given it more time
		return
	}
	_, _ = g.fresh(ctx, rec.Value)
	if wait := afterFull - g.store.SinceFull(); wait > 0 && ctx.Err() == nil {
		g.deadlines.setAt(rec.Value, time.Now().Add(wait))
	}
}

// Polls tells what the agents' polls do here.
func (g *Gateway) Polls() server.Stats { return g.agents.Stats() }

// Handler answers every request: the agent protocol, the identity service, the API.
func (g *Gateway) Handler() http.Handler {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = g.writeError
	e.IPExtractor = RemoteIP(g.TrustProxy)
	e.Use(g.observeRequests, g.admitUnknown)
	for _, rt := range routes() {
		e.Add(rt.method, rt.path, g.serve(rt))
	}
	agents, identity := g.agents.Handler(), g.IdentityService
	blobs := &segments.Server{
		Blobs: g.Blobs, Presign: g.PresignBlobs, Log: g.log, Authenticate: g.agents.Authenticate,
		MayWrite: g.mayWriteBackup, MayRead: g.mayReadBackup, MayWriteLog: g.mayWriteLog,
		MayDiscardLog: g.mayDiscardLog, Refused: g.Limits.Refused,
	}
	// An http.ServeMux would redirect a path with dots in it to the path of something else: the DELETE of a database
	// called .. would become that of its instance.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path + "/"; {
		case blobs.Serve(w, r):
		case strings.HasPrefix(path, "/agent/v1/"):
			agents.ServeHTTP(w, r)
		case strings.HasPrefix(path, "/identity/") && identity != nil:
			g.Limits.inTime(w, r)
			identity.ServeHTTP(w, r)
		default:
			g.Limits.inTime(w, r)
			e.ServeHTTP(w, r)
		}
	})
}

// Serve answers requests on l until Shutdown.
func (g *Gateway) Serve(l net.Listener) (*http.Server, <-chan error) {
	srv := server.HTTPServer(g.Handler())
	srv.ErrorLog = slog.NewLogLogger(g.log.Handler(), slog.LevelDebug)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(g.agents.Listener(l)) }()
	return srv, done
}

// Close drains and ends the gateway: parked polls are answered in turn, requests under way finish, the session's records
// go. ctx limits it.
func (g *Gateway) Close(ctx context.Context, srv *http.Server) error {
	g.draining.Store(true)
	errs := []error{g.agents.Drain(ctx)}
	if srv != nil {
		errs = append(errs, srv.Shutdown(ctx))
	}
	g.agents.Close()
	g.cancel()
	g.deadlines.close()
	g.work.Wait()
	return errors.Join(append(errs, g.session.Close(ctx))...)
}
