package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
	"github.com/cofferdb/coffer/gateway/identity"
)

var update = flag.Bool("update", false, "write what the scripts compare with anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"coffer": main})
}

// TestScripts runs the commands against a real gateway, whose host keeps its databases in memory.
func TestScripts(t *testing.T) {
	store := etcdtest.New(t)
	gatewaytest.Define(t, store)
	put(t, store, etcdschema.Put(etcdschema.FlavorKey("9"), etcdschema.Flavor{Name: "huge", RAM: 1 << 21, VCPUs: 1, Disk: 1}))
	instances := 40 // for all scripts beside each other
	put(t, store, etcdschema.Put(etcdschema.QuotaKey(gatewaytest.Project), etcdschema.Quota{Instances: &instances}))
	spare := etcdschema.HostRecord{Machine: deployments.Machine{Name: "spare", Pool: gatewaytest.Pool("127.98.0.0/16")}} // may be disabled while scripts need the other
	put(t, store, etcdschema.Put(etcdschema.HostKey("0199d0a1-0000-7000-8000-000000000001"), spare))
	var password string
	g := gatewaytest.Start(t, store, func(c *gateway.Config) { password = logins(t, c) })
	host := gatewaytest.StartHost(t, g)
	repository, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       *update,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exitsWith,
			"hold": func(ts *testscript.TestScript, _ bool, args []string) { // a method of the server at an address, to the script's end
				ts.Defer(host.Memory.Hold(args[0], args[1]))
			},
			"fail": func(_ *testscript.TestScript, _ bool, args []string) { // each call of it, until it comes without a reason
				var reason error
				if len(args) > 2 {
					reason = errors.New(args[2])
				}
				host.Memory.Fail(args[0], args[1], reason)
			},
			"env-of-stdout": envOfStdout,
			"page":          commandsOf,
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("COFFER_ENDPOINT", g.URL+"/v1.0/"+gatewaytest.Project)
			env.Setenv("COFFER_TOKEN", gatewaytest.Member)
			env.Setenv("ADMIN", gatewaytest.Admin)
			env.Setenv("READER", gatewaytest.Reader)
			env.Setenv("OTHER", gatewaytest.Other) // a member of p2
			env.Setenv("GATEWAY", g.URL)
			env.Setenv("HOST", host.ID)
			env.Setenv("ADMIN_PASSWORD", password)
			env.Setenv("ETCD", etcdtest.Start(t).Endpoint()) // of a script's own
			env.Setenv("DOCS", filepath.Join(repository, "docs"))
			env.Setenv("DEFINITIONS", filepath.Join(repository, "deployments/definitions"))
			return nil
		},
	})
}

// commandsOf writes all commands that a page shows, one script that ends with the first that fails.
func commandsOf(ts *testscript.TestScript, _ bool, args []string) {
	text, err := os.ReadFile(args[0])
	ts.Check(err)
	script := "set -eu\n"
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		script += block[1]
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(script), 0o600))
}

func put(t *testing.T, store *etcdschema.Store, ops ...etcdschema.Op) {
	t.Helper()
	_, err := store.Update(t.Context(), nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) { return ops, nil })
	if err != nil {
		t.Fatal(err)
	}
}

// logins lets a gateway take logins besides its static tokens. It returns the password of admin.
func logins(t *testing.T, c *gateway.Config) string {
	t.Helper()
	service, err := identity.New(identity.Config{Store: c.Store, Others: c.Identity, Log: c.Log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	password, _, err := service.Bootstrap(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c.Identity, c.IdentityService = identity.Chain{c.Identity, service}, service.Handler()
	return password
}

// exitsWith runs a program that must end with the code that comes first.
func exitsWith(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	default:
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// envOfStdout sets a variable to what a pattern's group finds in the last command's output.
func envOfStdout(ts *testscript.TestScript, _ bool, args []string) {
	found := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if found == nil {
		ts.Fatalf("no match for %s", args[1])
	}
	ts.Setenv(args[0], found[1])
}

// TestNoSecretInFlags keeps passwords out of what other users of a machine can see.
func TestNoSecretInFlags(t *testing.T) {
	a := &app{out: os.Stdout, getenv: os.Getenv}
	for _, group := range a.command().Commands() {
		for _, cmd := range group.Commands() {
			if f := cmd.Flags().Lookup("password"); f != nil {
				t.Errorf("%s has a flag that takes a password", cmd.CommandPath())
			}
		}
	}
}
