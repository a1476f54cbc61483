package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// Config says where the data lies and where clients may connect.
type Config struct {
	// Dir holds the data, and is made when missing (0700). One process at a time may use it.
	Dir string
	// Socket is where clients connect: the path of a unix socket (0600), at most 107 bytes of it when it is absolute. Its
	// directory is made when missing (0700), and must be closed to others. "" means client.sock in Dir.
	Socket string
	Log    *slog.Logger // nil: slog.Default(); warnings and errors of etcd only
	// Throwaway is for tests: nothing is synced to disk, so that a crash of the machine may lose data, and elections are
	// quick.
	Throwaway bool
}

const (
	memberName = "coffer"
	// memberHost names the member for good, in its data. Nobody dials it: it is the only one.
	memberHost = "127.0.0.1:2380"
	// nowhere is what the member tells clients who ask it for its addresses: etcd wants a host and a port, and there is none.
	nowhere    = "etcd-inside.invalid:2379"
	quota      = 4 << 30 // bytes
	compaction = "10m"   // how much history is kept at least
	defrag     = 100     // MiB that a start must be able to free to take the time for it
)

// Server is a running etcd.
type Server struct {
	etcd    *embed.Etcd
	lock    *os.File
	socket  string
	close   sync.Once
	closing *atomic.Bool
}

// Start runs etcd, and returns when it serves. It fails when ctx ends before.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s, err := start(ctx, cfg)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start the embedded etcd in %s: %w", cfg.Dir, err), lock.Close())
	}
	s.lock = lock
	return s, nil
}

func start(ctx context.Context, cfg Config) (*Server, error) {
	socket, err := place(cfg)
	if err != nil {
		return nil, err
	}
	closing := new(atomic.Bool)
	etcd, err := embed.StartEtcd(settings(cfg, socket, closing))
	if err != nil {
		return nil, err
	}
	s := &Server{etcd: etcd, socket: socket, closing: closing}
	if err = os.Chmod(socket, 0o600); err != nil { // until now its directory has kept others away
		etcd.Close()
		return nil, err
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return s, nil
	case err = <-etcd.Err():
	case <-etcd.Server.StopNotify():
		err = errors.New("etcd stopped while it started")
	case <-ctx.Done():
		err = ctx.Err()
	}
	etcd.Close()
	return nil, err
}

func settings(cfg Config, socket string, closing *atomic.Bool) *embed.Config {
	c := embed.NewConfig()
	c.Name = memberName
	c.Dir = filepath.Join(cfg.Dir, "etcd")
	c.InitialCluster = memberName + "=http://" + memberHost
	c.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: memberHost}}
	c.ListenPeerUrls = nil
	c.ListenClientUrls = []url.URL{{Scheme: "unix", Host: socket}} // Host is what etcd reads of it
	c.AdvertiseClientUrls = []url.URL{{Scheme: "http", Host: nowhere}}
	c.EnableGRPCGateway = false
	c.CORS = map[string]struct{}{"none": {}} // an empty list would let everybody in
	c.HostWhitelist = map[string]struct{}{"localhost": {}}
	c.AutoCompactionMode = embed.CompactorModePeriodic
	c.AutoCompactionRetention = compaction
	c.QuotaBackendBytes = quota
	c.BootstrapDefragThresholdMegabytes = defrag
	c.WarningUnaryRequestDuration = embed.DefaultWarningUnaryRequestDuration // zero would warn of every request
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(bridge{log: cfg.Log, closing: closing}))
	if cfg.Throwaway {
		c.UnsafeNoFsync = true
		c.TickMs, c.ElectionMs = 10, 100
	}
	return c
}

// Endpoint is where clients connect, such as "unix:///var/lib/coffer/etcd/client.sock": for etcdctl --endpoints, too.
func (s *Server) Endpoint() string { return "unix://" + s.socket }

// Failed is closed when etcd has stopped, by [Server.Close] or because it could not go on.
func (s *Server) Failed() <-chan struct{} { return s.etcd.Server.StopNotify() }

// Close stops etcd and waits for it. Close the clients first: it waits some seconds for connections that are open. It may
// be called twice.
func (s *Server) Close() error {
	var err error
	s.close.Do(func() {
		s.closing.Store(true)
		s.etcd.Close()
		err = s.lock.Close()
	})
	return err
}
