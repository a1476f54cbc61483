// Command coffer is the command line of tenants and operators.
//
// It logs in as openstack clients do, by the OS_… variables, or takes an endpoint and a token. What it prints with
// --output json is what the API says, under the API's names. Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 not
// allowed, 5 out of reach or out of time, 6 something would be lost.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// version is set when the binary is built.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)
	stop()
	os.Exit(status)
}

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer, getenv func(string) string) int {
	a := &app{in: in, out: out, errs: errs, getenv: getenv, poll: 500 * time.Millisecond}
	root := a.command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !a.running {
		err = &usageError{err}
	}
	return a.fail(err)
}
