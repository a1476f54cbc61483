package guest

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/cofferdb/coffer/datastores"
)

// Main is a guest binary: it reads the command line and does not return.
//
//	<manager>-guest run -config FILE
//	<manager>-guest describe [-format json|etcdctl|files [-o DIR]]
//	<manager>-guest check < guest halves of definitions
//	<manager>-guest version
//
// Flags may be given in the environment too: -config is COFFER_GUEST_CONFIG. Logs are JSON on standard error. SIGTERM
// and SIGINT end the guest, never the database server.
func Main(plugin datastores.Plugin) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := program{plugin, os.Getenv, os.Stdin, os.Stdout, os.Stderr}.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// program is Main with its surroundings, so that a test can bring its own.
type program struct {
	plugin         datastores.Plugin
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// errUsage: the command line is wrong, and that has been said.
var errUsage = errors.New("usage")

func (p program) run(ctx context.Context, args []string) (code int) {
	err := p.dispatch(ctx, args)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	_, _ = fmt.Fprintf(p.stderr, "%s: %v\n", p.name(), err)
	return 1
}

func (p program) name() string { return p.plugin.Manifest().Manager + "-guest" }

func (p program) dispatch(ctx context.Context, args []string) error {
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	switch name {
	case "run":
		return p.serve(ctx, args[1:])
	case "describe":
		return p.describe(args[1:])
	case "check":
		return p.check(args[1:])
	case "version":
		_, err := fmt.Fprintf(p.stdout, "%s %s %s\n", p.name(), version(), runtime.Version())
		return err
	}
	_, _ = fmt.Fprintf(p.stderr, "usage: %[1]s run -config FILE | %[1]s describe [-format json|etcdctl|files [-o DIR]] | %[1]s check | %[1]s version\n", p.name())
	return errUsage
}

func (p program) serve(ctx context.Context, args []string) error {
	flags := p.flags("run")
	file := flags.String("config", "", "the guest's configuration, a JSON `file` of mode 0600")
	level := flags.String("log-level", "info", "debug, info, warn or error")
	allowHTTP := flags.Bool("allow-http", false, "take http:// gateways: only behind a proxy that adds TLS, and in tests. Whoever gets hold of the port acts for the gateway")
	if err := p.parse(flags, args); err != nil {
		return err
	}
	var min slog.Level
	if err := min.UnmarshalText([]byte(*level)); err != nil {
		return fmt.Errorf("-log-level: %w", err)
	}
	config, err := LoadConfig(*file)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(p.stderr, &slog.HandlerOptions{Level: min})).With("instance_id", config.InstanceID)
	g, err := New(Config{Plugin: p.plugin, Guest: config, Version: version(), AllowHTTP: *allowHTTP, Log: log})
	if err != nil {
		return err
	}
	debug.FreeOSMemory() // what describing the plug-in took is not needed again, and guests are many
	return g.Run(ctx)
}

func (p program) describe(args []string) error {
	flags := p.flags("describe")
	format := flags.String("format", "json", "json: the manifest; etcdctl: the definitions, as input of `etcdctl txn`; files: the definitions, as `coffer definitions` reads them")
	dir := flags.String("o", "", "the `directory` for -format files; it is made")
	if err := p.parse(flags, args); err != nil {
		return err
	}
	switch *format {
	case "json":
		e := json.NewEncoder(p.stdout)
		e.SetIndent("", "  ")
		return e.Encode(p.plugin.Manifest())
	case "etcdctl":
		return writePuts(p.stdout, p.plugin.Manifest())
	case "files":
		return writeFiles(*dir, p.plugin.Manifest())
	}
	return fmt.Errorf("-format: %q is not json, etcdctl or files", *format)
}

func (p program) flags(subcommand string) *flag.FlagSet {
	flags := flag.NewFlagSet(p.name()+" "+subcommand, flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	return flags
}

// parse reads flags from args, then those that args leave out from the environment.
func (p program) parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is one argument too many", flags.Arg(0))
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var errs []error
	flags.VisitAll(func(f *flag.Flag) {
		name := "COFFER_GUEST_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value := p.getenv(name); value != "" && !given[f.Name] {
			if err := f.Value.Set(value); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	})
	return errors.Join(errs...)
}

// version is that of the module which the binary was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
