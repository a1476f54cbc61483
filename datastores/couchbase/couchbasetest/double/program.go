package double

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
)

// Main is the programs: which one it is, and of which version, tells its path, such as 7.6/cbbackupmgr. It returns the exit status.
func Main() int {
	path, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	version := filepath.Base(filepath.Dir(path))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	switch filepath.Base(path) {
	case "couchbase-server":
		err = serverMain(ctx, version, os.Args[1:])
	case "cbbackupmgr":
		err = backupMain(ctx, os.Args[1:])
	default:
		err = fmt.Errorf("%s is no program of Couchbase's that the double knows", filepath.Base(path))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(path), err)
		return 1
	}
	return 0
}

// serverMain takes what follows -- for Erlang's arguments, which it does not look at but for -noinput: without it the shell would read
// the terminal.
func serverMain(ctx context.Context, version string, args []string) error {
	switch {
	case slices.Equal(args, []string{"--version"}):
		fmt.Printf("Couchbase Server %s.0-1000 (EE)\n", version)
		return nil
	case len(args) > 1 && args[0] == "--" && slices.Contains(args, "-noinput"):
		dir, err := os.Getwd()
		if err != nil {
			return err
		}
		return serve(ctx, dir, version)
	}
	return fmt.Errorf("the double knows -- -noinput and --version, and not %q", args)
}
