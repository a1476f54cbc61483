package double

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// Main is the programs: which one it is, and of which version, tells its path, such as 8.0/mongodump. It returns the exit status.
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
	case "mongod":
		err = mongodMain(ctx, version, os.Args[1:])
	case "mongodump":
		err = dumpMain(ctx, os.Args[1:], os.Stdout)
	case "mongorestore":
		err = restoreMain(ctx, os.Args[1:], os.Stdin)
	default:
		err = fmt.Errorf("%s is no program of MongoDB's that the double knows", filepath.Base(path))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(path), err)
		return 1
	}
	return 0
}

func mongodMain(ctx context.Context, version string, args []string) error {
	switch {
	case len(args) == 1 && args[0] == "--version":
		fmt.Printf("db version v%s.0\n", version)
		return nil
	case len(args) == 2 && (args[0] == "--config" || args[0] == "-f"):
		return serve(ctx, args[1], version, os.Stdout)
	}
	return fmt.Errorf("the double knows --config FILE and --version, and not %q", args)
}
