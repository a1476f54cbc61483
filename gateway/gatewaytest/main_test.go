package gatewaytest_test

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// atOnce is how many of these tests run beside each other, each with an etcd, a host, addresses and users of its own: they wait
// more than they compute.
const atOnce = 4

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", strconv.Itoa(atOnce)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	defer built.remove()
	return m.Run()
}

// built are the programs of this repository, which several tests need and the first one builds.
var built builds

type builds struct {
	mu       sync.Mutex
	dir      string
	programs gatewaytest.Programs
}

func programs(t *testing.T) gatewaytest.Programs {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	if built.programs != "" {
		return built.programs
	}
	var err error
	if built.dir == "" {
		if built.dir, err = os.MkdirTemp("", "programs"); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(built.dir, 0o755); err != nil { // guests have users of their own
		t.Fatal(err)
	}
	built.programs = gatewaytest.BuildIn(t, built.dir)
	return built.programs
}

func (b *builds) remove() {
	if b.dir != "" {
		_ = os.RemoveAll(b.dir)
	}
}
