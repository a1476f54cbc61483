package host

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"

	"github.com/cofferdb/coffer/deployments/host/sandbox"
)

// Main is the program coffer-host: it runs a host until ctx ends and returns the exit status. args are without the
// program's name.
func Main(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	version := buildVersion()
	if len(args) > 0 && args[0] == "version" {
		_, _ = fmt.Fprintln(stdout, "coffer-host", version)
		return 0
	}
	if len(args) > 0 && args[0] == "init" {
		return sandbox.Init(args[1:], stderr)
	}
	cfg, err := ParseFlags(args, getenv, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "coffer-host:", err)
		return 2
	}
	cfg.Version, cfg.Log = version, slog.New(slog.NewTextHandler(stderr, nil))
	if err := run(ctx, cfg); err != nil {
		cfg.Log.Error("the host agent has ended", "err", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, cfg Config) error {
	h, err := New(cfg)
	if err != nil {
		return err
	}
	if err := h.Run(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// buildVersion is the module's version, as the Go command has put it into the binary.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}
