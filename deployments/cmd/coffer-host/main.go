// Command coffer-host is the agent of a machine: it launches, supervises and removes the guests of database instances.
// See package [github.com/cofferdb/coffer/deployments/host].
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/cofferdb/coffer/deployments/host"
)

func main() {
	syscall.Umask(0o022) // a stricter one would keep servers' users from their data, and sandboxes from their root
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := host.Main(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}
