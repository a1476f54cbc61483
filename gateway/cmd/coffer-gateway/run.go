package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/cofferdb/coffer/agentpoll/server"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/embedded"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/api"
	"github.com/cofferdb/coffer/gateway/identity"
	"github.com/cofferdb/coffer/gateway/keyring"
)

// run starts a gateway and serves until ctx ends. What a person wants to know goes to out, the log to logs.
func run(ctx context.Context, args []string, out, logs io.Writer) (err error) {
	cfg, err := parse(args, logs)
	if err != nil {
		return err
	}
	if cfg.showVersion {
		fmt.Fprintln(out, version)
		return nil
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.logLevel)); err != nil {
		return fmt.Errorf("-log-level %q: want debug, info, warn or error", cfg.logLevel)
	}
	log := slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: level}))

	if err := os.MkdirAll(cfg.dataDir, 0o700); err != nil {
		return err
	}
	keys, err := keyring.Load(cfg.keyFile, cfg.etcdEndpoints == "")
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", cfg.listen) // before etcd: the commonest mistake is a port that is taken
	if err != nil {
		return err
	}
	listener = cfg.limits.Listener(listener)
	defer listener.Close()
	var operators net.Listener
	if cfg.metricsListen != "" {
		if operators, err = net.Listen("tcp", cfg.metricsListen); err != nil {
			return err
		}
		defer operators.Close()
	}
	endpoints, inside, err := etcd(ctx, cfg, log)
	if err != nil {
		return err
	}
	var etcdEnded <-chan struct{} // never, when etcd is not inside
	if inside != nil {
		etcdEnded = inside.Failed()
		defer func() { err = errors.Join(err, inside.Close()) }()
	}
	store, err := open(ctx, cfg, endpoints, log)
	if err != nil {
		return err
	}
	defer store.Close()
	who, service, err := identities(ctx, cfg, store, log, out)
	if err != nil {
		return err
	}
	backups, err := blobs(ctx, cfg, log)
	if err != nil {
		return err
	}
	if dir, ok := backups.(io.Closer); ok {
		defer dir.Close()
	}
	tlsConfig, cas, err := certificates(ctx, cfg, store, keys, listener.Addr())
	if err != nil {
		return err
	}
	if tlsConfig != nil {
		listener = tls.NewListener(listener, tlsConfig)
	}
	g, err := gateway.Open(ctx, gateway.Config{
		Store: store, Keys: keys, Identity: who, IdentityService: service, Log: log, Version: version,
		Address: listener.Addr().String(), Hold: cfg.hold, Region: cfg.region,
		AgentURLs: list(cfg.agentURLs), AgentCAs: cas, TrustProxy: cfg.trustProxy, Origins: cfg.corsOrigins,
		Blobs: backups, PresignBlobs: cfg.s3Presign, Limits: cfg.limits,
	})
	if err != nil {
		return err
	}
	srv, served := g.Serve(listener)
	if operators != nil {
		metrics := server.HTTPServer(g.Operations())
		go func() { _ = metrics.Serve(operators) }() // ends with the close below
		defer metrics.Close()
	}
	fmt.Fprintf(out, "etcd      %s\nserving   %s\n", strings.Join(endpoints, ","), url(cfg, listener))
	log.Info("serving", "address", listener.Addr().String(), "version", version)
	select {
	case err = <-served:
	case <-etcdEnded:
		err = errors.New("the etcd inside has stopped; the log says why")
	case <-ctx.Done():
		log.Info("draining")
	}
	stopping, cancel := context.WithTimeout(context.Background(), cfg.drain)
	defer cancel()
	return errors.Join(err, g.Close(stopping, srv))
}

func url(cfg config, l net.Listener) string {
	if cfg.insecureHTTP {
		return "http://" + l.Addr().String()
	}
	return "https://" + l.Addr().String()
}

// etcd starts the one inside, or returns nil when there are endpoints of another.
func etcd(ctx context.Context, cfg config, log *slog.Logger) (endpoints []string, inside *embedded.Server, err error) {
	if cfg.etcdEndpoints != "" {
		return list(cfg.etcdEndpoints), nil, nil
	}
	e, err := embedded.Start(ctx, embedded.Config{Dir: cfg.dataDir + "/etcd", Socket: cfg.etcdSocket, Log: log})
	if err != nil {
		return nil, nil, fmt.Errorf("cannot start the etcd inside (-data-dir, -etcd-socket): %w", err)
	}
	return []string{e.Endpoint()}, e, nil
}

func open(ctx context.Context, cfg config, endpoints []string, log *slog.Logger) (*etcdschema.Store, error) {
	c := etcdschema.Config{Endpoints: endpoints, Username: cfg.etcdUser, Log: log}
	if cfg.etcdUser != "" {
		c.Password = os.Getenv(cfg.etcdPasswordEnv)
	}
	var err error
	if c.TLS, err = etcdschema.ClientTLS(cfg.etcdCA, cfg.etcdCert, cfg.etcdKey); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return etcdschema.Open(ctx, c)
}

// identities puts together who may log in, and prints the first password once.
func identities(ctx context.Context, cfg config, store *etcdschema.Store, log *slog.Logger, out io.Writer) (identity.Authenticator, http.Handler, error) {
	if cfg.unauthenticated {
		log.Warn("everybody is admin: -unauthenticated")
		return identity.Anonymous{}, nil, nil
	}
	var chain identity.Chain
	if cfg.tokensFile != "" {
		static, err := identity.ReadStatic(cfg.tokensFile)
		if err != nil {
			return nil, nil, err
		}
		chain = append(chain, static)
	}
	if cfg.identity == "none" {
		return chain, nil, nil
	}
	service, err := identity.New(identity.Config{Store: store, Others: chain, Region: cfg.region, Log: log, PublicURL: api.PublicURL(cfg.trustProxy), RemoteIP: api.RemoteIP(cfg.trustProxy), Refused: cfg.limits.Refused, TokenRate: cfg.limits.TokenRate()})
	if err != nil {
		return nil, nil, err
	}
	file, err := passwordFile(cfg.passwordFile)
	if err != nil {
		return nil, nil, err
	}
	password, created, err := service.Bootstrap(ctx)
	where := "password " + password + "\n             (shown once; change it with `openstack user password set`)"
	if file != nil && created {
		where = "password in " + file.Name() + "\n             (read it, remove it; change it with `openstack user password set`)"
		_, failed := file.WriteString(password + "\n")
		err = errors.Join(err, failed, file.Sync(), file.Close())
	} else if file != nil {
		err = errors.Join(err, file.Close(), os.Remove(file.Name()))
	}
	if err != nil {
		return nil, nil, err
	}
	if created {
		fmt.Fprintf(out, "first start: user \"admin\", project \"admin\", %s\n", where)
	}
	return append(chain, service), service.Handler(), nil
}

// passwordFile makes the file for the first password before there is one, since it is told once. nil: none is asked for, or there is
// one already, which stays as it is.
func passwordFile(path string) (*os.File, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("-password-file: %w", err)
	}
	return f, nil
}
