package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/launch"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// upper runs `coffer up` and its fellows in a corner of this machine that is nobody else's.
type upper struct {
	program string
	dir     string
	flags   []string
	env     []string
}

func newUpper(t *testing.T) upper {
	t.Helper()
	corner := rand.IntN(250)
	address := fmt.Sprintf("127.78.%d.1", corner)
	u := upper{program: gatewaytest.Build(t).Path("coffer"), dir: filepath.Join(t.TempDir(), "state")}
	u.flags = []string{
		"--dir", u.dir, "--definitions", "../../../deployments/definitions", "--listen", address + ":8779",
		"--host-flag", fmt.Sprintf("-firewall-table=coffer_up_%d", corner),
	}
	if os.Geteuid() == 0 { // its instances are sandboxes
		first := 1<<30 + corner<<16
		u.flags = append(u.flags, "--host-flag", fmt.Sprintf("-address-pool=10.78.%d.0/24", corner), "--host-flag", fmt.Sprintf("-ids=%d-%d", first, first+64*1024-1))
	} else {
		u.flags = append(u.flags, "--host-flag", fmt.Sprintf("-address-pool=127.78.%d.128/25", corner))
	}
	u.env = append(os.Environ(), "OS_CACERT="+filepath.Join(u.dir, "gateway", "ca.pem"), "OS_AUTH_URL=https://"+address+":8779/identity/v3", "OS_USERNAME=admin", "OS_PROJECT_NAME=admin")
	return u
}

// start runs `coffer up` until it says that it stays. The function ends it as Ctrl-C does.
func (u upper) start(t *testing.T) (stop func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), u.program, append([]string{"up"}, u.flags...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "Ctrl-C") {
		t.Log(lines.Text())
	}
	return func() {
		t.Helper()
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(t.Output(), out)
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// coffer runs a command as somebody who has read openrc.
func (u upper) coffer(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, u.program, args...)
	password, err := os.ReadFile(filepath.Join(u.dir, launch.PasswordFile))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(u.env, "OS_PASSWORD="+strings.TrimSpace(string(password)))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("coffer %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestUp stops everything but the database, finds it again, and removes it all.
func TestUp(t *testing.T) {
	datastoretest.Require(t, "/usr/bin/redis-server", "redis-server")
	u := newUpper(t)
	stop := u.start(t)
	u.coffer(t, "instance", "create", "cache", "--datastore", "redis", "--flavor", "tiny", "--size", "1", "--wait")
	if out, err := exec.CommandContext(t.Context(), u.program, append([]string{"down"}, u.flags...)...).CombinedOutput(); err == nil || !strings.Contains(string(out), "is in use by process") {
		t.Errorf("coffer down beside coffer up: %v\n%s", err, out)
	}
	u.coffer(t, "backup", "create", "cache", "nightly", "--wait")
	u.coffer(t, "instance", "create", "second", "--replica-of", "cache", "--wait")
	stop()
	stop = u.start(t)
	if out := u.coffer(t, "instance", "show", "cache"); !strings.Contains(out, "ACTIVE") {
		t.Errorf("after the second start:\n%s", out)
	}
	u.coffer(t, "instance", "restart", "cache", "--wait")
	u.coffer(t, "instance", "create", "copy", "--datastore", "redis", "--flavor", "tiny", "--size", "1", "--backup", "nightly", "--wait")
	stop()
	u.coffer(t, append([]string{"down"}, u.flags...)...)
	if _, err := os.Stat(u.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", u.dir, err)
	}
}
