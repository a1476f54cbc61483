package etcdschema

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// Config says how to reach etcd.
type Config struct {
	Endpoints []string    // such as "http://127.0.0.1:2379"
	TLS       *tls.Config // nil: plain
	Username  string      // "": etcd's authentication is off
	Password  string
	Log       *slog.Logger // nil: slog.Default()
}

const (
	dialTimeout   = 5 * time.Second
	keepAlive     = 10 * time.Second // etcd hangs up on clients that ping more often than every 5 s
	reconnectMax  = 3 * time.Second  // gRPC's own is two minutes: too long after an outage
	openRetry     = 200 * time.Millisecond
	openTimeout   = 10 * time.Second // when the caller set none
	watchdogEvery = 5 * time.Second
)

// Open connects to etcd, and fails when it cannot be reached before ctx ends (or within 10 s when ctx has no deadline),
// or is older than 3.4. It warns of versions with known faults in authorisation and watches: below 3.5.33, 3.6.14, 3.7.1.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("no etcd endpoint given")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, openTimeout)
		defer cancel()
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            cfg.Endpoints,
		TLS:                  cfg.TLS,
		Username:             cfg.Username,
		Password:             cfg.Password,
		DialTimeout:          dialTimeout,
		DialKeepAliveTime:    keepAlive,
		DialKeepAliveTimeout: dialTimeout,
		Logger:               zap.NewNop(), // every error is returned, too
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: openRetry, Multiplier: 1.6, Jitter: 0.2, MaxDelay: reconnectMax},
			MinConnectTimeout: dialTimeout,
		})},
	})
	if err != nil {
		return nil, fmt.Errorf("cannot open etcd at %s: %w", strings.Join(cfg.Endpoints, ", "), err)
	}
	version, err := serverVersion(ctx, client)
	if err == nil {
		err = checkVersion(version, cfg.Log)
	}
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &Store{client: client, group: group{client: client}, log: cfg.Log, watchdog: watchdogEvery}, nil
}

// serverVersion asks the endpoints in turn until one answers or ctx ends.
func serverVersion(ctx context.Context, client *clientv3.Client) (string, error) {
	for i := 0; ; i++ {
		endpoint := client.Endpoints()[i%len(client.Endpoints())]
		once, cancel := context.WithTimeout(ctx, dialTimeout)
		status, err := client.Status(once, endpoint)
		cancel()
		if err == nil {
			return status.Version, nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("cannot reach etcd at %s: %w; is it running, and the address right?", endpoint, err)
		case <-time.After(openRetry):
		}
	}
}

// release is a version of etcd: major, minor, patch.
type release [3]int

func (r release) String() string           { return fmt.Sprintf("%d.%d.%d", r[0], r[1], r[2]) }
func (r release) before(than release) bool { return slices.Compare(r[:], than[:]) < 0 }

// oldestRelease is the first etcd whose transactions, leases and progress requests suffice.
var oldestRelease = release{3, 4, 0}

// soundReleases are, for each release line, the first without known faults in authorisation and watches.
var soundReleases = []release{{3, 5, 33}, {3, 6, 14}, {3, 7, 1}}

func checkVersion(version string, log *slog.Logger) error {
	var have release
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &have[0], &have[1], &have[2]); err != nil {
		return fmt.Errorf("etcd calls its version %q: %w", version, err)
	}
	if have.before(oldestRelease) {
		return fmt.Errorf("etcd %s is too old; want %s or newer", version, oldestRelease)
	}
	for _, sound := range soundReleases {
		if have[0] > sound[0] || have[1] > sound[1] {
			continue // of a later line
		}
		if have.before(sound) {
			log.Warn("this etcd has known faults in authorisation and watches; upgrade it",
				"version", version, "upgrade_to", sound.String())
		}
		break
	}
	return nil
}
