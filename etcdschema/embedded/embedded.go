package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Config says where the data lies and where clients may connect.
type Config struct {
	// Dir holds the data, and is made when missing (0700). One process at a time may use it.
	Dir string
	// ClientAddr is a loopback address such as "127.0.0.1:2379"; port 0 picks a free one. "" means 127.0.0.1:2379.
	ClientAddr string
	Log        *slog.Logger // nil: slog.Default(); warnings and errors of etcd only
	// Throwaway is for tests: nothing is synced to disk, so that a crash of the machine may lose data, and elections are
	// quick.
	Throwaway bool
}

const (
	memberName = "coffer"
	// memberHost names the member for good, in its data. Nobody dials it: it is the only one.
	memberHost = "127.0.0.1:2380"
	quota      = 4 << 30 // bytes
	compaction = "10m"   // how much history is kept at least
	defrag     = 100     // MiB that a start must be able to free to take the time for it
	attempts   = 5       // to find a free port
)

// Server is a running etcd.
type Server struct {
	etcd    *embed.Etcd
	lock    *os.File
	addr    string
	close   sync.Once
	closing *atomic.Bool
}

// Start runs etcd, and returns when it serves. It fails when ctx ends before.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.ClientAddr == "" {
		cfg.ClientAddr = "127.0.0.1:2379"
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	host, port, err := loopback(cfg.ClientAddr)
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	for range attempts {
		var s *Server
		if s, err = start(ctx, cfg, host, port); err == nil {
			s.lock = lock
			return s, nil
		}
		if port != "0" || !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	return nil, errors.Join(fmt.Errorf("cannot start the embedded etcd in %s: %w", cfg.Dir, err), lock.Close())
}

func start(ctx context.Context, cfg Config, host, port string) (*Server, error) {
	addr := net.JoinHostPort(host, port)
	if port == "0" {
		var err error
		if addr, err = freeAddr(ctx, addr); err != nil {
			return nil, err
		}
	}
	closing := new(atomic.Bool)
	etcd, err := embed.StartEtcd(settings(cfg, addr, closing))
	if err != nil {
		return nil, err
	}
	s := &Server{etcd: etcd, addr: addr, closing: closing}
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

func settings(cfg Config, addr string, closing *atomic.Bool) *embed.Config {
	c := embed.NewConfig()
	c.Name = memberName
	c.Dir = filepath.Join(cfg.Dir, "etcd")
	c.InitialCluster = memberName + "=http://" + memberHost
	c.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: memberHost}}
	c.ListenPeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	c.ListenClientUrls = []url.URL{{Scheme: "http", Host: addr}}
	c.AdvertiseClientUrls = c.ListenClientUrls
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

// Endpoint is where clients connect, such as "http://127.0.0.1:2379": for etcdctl --endpoints, too.
func (s *Server) Endpoint() string { return "http://" + s.addr }

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
