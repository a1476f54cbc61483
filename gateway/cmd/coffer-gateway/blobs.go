package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/cofferdb/coffer/gateway/blobstore"
)

// blobs opens the place for backups and published logs; nil: there is none.
func blobs(ctx context.Context, cfg config, log *slog.Logger) (blobstore.Store, error) {
	switch {
	case cfg.backupDir != "":
		d, err := blobstore.OpenDir(cfg.backupDir)
		if err != nil {
			return nil, fmt.Errorf("-backup-dir: %w", err)
		}
		return d, nil
	case cfg.s3.Endpoint != "":
		return bucket(ctx, cfg)
	}
	log.Warn("there is no place for backups: give -backup-dir, a directory that all gateways share, or -s3-endpoint")
	return nil, nil
}

func bucket(ctx context.Context, cfg config) (blobstore.Store, error) {
	c := cfg.s3
	var err error
	if c.AccessKey, err = secret(cfg.s3AccessKeyFile, "AWS_ACCESS_KEY_ID"); err != nil {
		return nil, fmt.Errorf("-s3-access-key-file: %w", err)
	}
	if c.SecretKey, err = secret(cfg.s3SecretKeyFile, "AWS_SECRET_ACCESS_KEY"); err != nil {
		return nil, fmt.Errorf("-s3-secret-key-file: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	s, err := blobstore.OpenS3(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("-s3-endpoint: %w", err)
	}
	return s, nil
}

// secret reads a key from a file, or from the environment when there is none.
func secret(file, env string) (string, error) {
	if file == "" {
		if value := os.Getenv(env); value != "" {
			return value, nil
		}
		return "", fmt.Errorf("want a file, or %s in the environment", env)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if value := strings.TrimSpace(string(text)); value != "" {
		return value, nil
	}
	return "", fmt.Errorf("%s is empty", file)
}
