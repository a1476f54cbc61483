package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

// TestMain lets this test binary stand in for the programs that the tests run, by the name that it is called by:
// coffer-host, or any guest.
func TestMain(m *testing.M) {
	name := filepath.Base(os.Args[0])
	switch {
	case name == "coffer-host", name == "init":
		os.Exit(Main(context.Background(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
	case strings.HasSuffix(name, guestSuffix):
		if err := fakeGuest(strings.TrimSuffix(name, guestSuffix), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fakeGuest describes itself, or runs a "database" that does nothing, as a real guest would run one, until it is ended.
func fakeGuest(manager string, args []string) error {
	if args[0] == "describe" {
		_, err := fmt.Printf(`{"manager":%q, "capabilities":[]}`, manager)
		return err
	}
	if args[0] == "check" { // it judges by the word
		in := json.NewDecoder(os.Stdin)
		for {
			var options struct{ Say datastores.Opinion }
			if err := in.Decode(&options); err != nil {
				return nil
			}
			if os.Geteuid() == 0 {
				options.Say.Problems = []string{"root: is asked"}
			}
			if err := json.NewEncoder(os.Stdout).Encode(options.Say); err != nil {
				return err
			}
		}
	}
	b, err := os.ReadFile(args[2])
	if err != nil {
		return err
	}
	var cfg datastores.GuestConfig
	if err := json.Unmarshal(b, &cfg); err != nil {
		return err
	}
	fmt.Println("guest of", cfg.InstanceID)
	if manager == "dying" {
		return fmt.Errorf("as its name says")
	}
	database := service.Service{
		Name: "database", Dir: cfg.Dir, Argv: []string{"/usr/bin/tail", "-F", cfg.Dir + "/nothing"},
		Credential: service.Credential(cfg.UID, cfg.GID), CgroupDirs: cfg.CgroupDirs,
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := database.Start(ctx); err != nil {
		return err
	}
	if manager == "asked" {
		answer(ctx, cfg)
	}
	<-ctx.Done()
	return nil
}

// question is a shell command that a guest is to run inside of its sandbox, and what it printed.
type question struct {
	UID     int
	Command string
	Answer  string
}

// answer answers the questions in the guest's directory until ctx ends: ask.json becomes answer.json.
func answer(ctx context.Context, cfg datastores.GuestConfig) {
	l, err := net.Listen("tcp", net.JoinHostPort(cfg.Address, "7000"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer func() { _ = l.Close() }()
	ask := filepath.Join(cfg.Dir, "ask.json")
	for service.Pause(ctx, 5*time.Millisecond) {
		b, err := os.ReadFile(ask)
		if err != nil {
			continue
		}
		var q question
		if err := json.Unmarshal(b, &q); err != nil {
			q.Answer = err.Error()
		}
		out, err := service.Run(ctx, []string{"/bin/sh", "-c", q.Command + " 2>&1 || true"}, service.RunOptions{Credential: service.Credential(q.UID, q.UID)})
		if q.Answer = strings.TrimSpace(string(out)); err != nil {
			q.Answer = err.Error()
		}
		b, _ = json.Marshal(q)
		_ = os.Remove(ask)
		_ = volume.At(cfg.Dir).WriteFile("answer.json", b)
	}
}

// link puts this test binary into dir under a name.
func link(t testing.TB, dir, name string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, what string, err error, kind agentpoll.ErrorKind) {
	t.Helper()
	var e *agentpoll.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Errorf("%s: %v, want an error of kind %s", what, err, kind)
	}
}
