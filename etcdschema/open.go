package etcdschema

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
)

// Config says how to reach etcd.
type Config struct {
	Endpoints []string    // such as "http://127.0.0.1:2379"
	TLS       *tls.Config // nil: plain
	Username  string      // "": etcd's authentication is off
	Password  string
	Log       *slog.Logger // nil: slog.Default()
}

// Open connects to etcd, and fails when it cannot be reached before ctx ends, or is older than 3.4. It warns of versions
// with known faults in authorisation and watches: below 3.5.33, 3.6.14, 3.7.1.
func Open(ctx context.Context, cfg Config) (*Store, error) { return nil, errors.New("TODO") }
