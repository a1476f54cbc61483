package redis

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

func TestRootCannotTakeTheServerFromItsGuest(t *testing.T) {
	m, ctx := running(t), t.Context()
	if _, err := m.EnableRoot(ctx, datastores.NewSecret("pass")); err != nil {
		t.Fatal(err)
	}
	c := tenant(m.env.Address, rootName, "pass")
	defer func() { _ = c.Close() }()
	for _, command := range []string{
		"ACL DELUSER os_admin", "ACL SETUSER os_admin off", "ACL LIST", "CONFIG SET dir /tmp", "CONFIG REWRITE", "SHUTDOWN NOSAVE",
		"REPLICAOF 127.0.0.1 1", "SLAVEOF 127.0.0.1 1", "MODULE LIST", "CLIENT KILL USER os_admin", "CLIENT PAUSE 1000",
		"CONFIG GET masterauth", "SAVE", "BGSAVE", "BGREWRITEAOF", "SYNC", "PSYNC ? -1", "REPLCONF capa eof", "FAILOVER",
		"MIGRATE 127.0.0.1 1 k 0 1", "CLUSTER RESET",
	} {
		err := c.Do(ctx, words(command)...).Err()
		if err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("%s = %v, want NOPERM", command, err)
		}
	}
	for _, command := range []string{"KEYS *", "FLUSHALL", "INFO", "EVAL return(1) 0", "ACL WHOAMI", "CLIENT LIST", "SLOWLOG GET", "LATENCY LATEST", "ROLE"} {
		if err := c.Do(ctx, words(command)...).Err(); err != nil {
			t.Errorf("%s = %v", command, err)
		}
	}
}

func TestDisableRootEndsItsConnections(t *testing.T) {
	m, ctx := running(t), t.Context()
	if _, err := m.EnableRoot(ctx, datastores.NewSecret("pass")); err != nil {
		t.Fatal(err)
	}
	c := tenant(m.env.Address, rootName, "pass")
	defer func() { _ = c.Close() }()
	if err := c.Ping(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if err := m.DisableRoot(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(ctx).Err(); err == nil {
		t.Error("a connection of root's has outlived it")
	}
}

func TestDataAndLimits(t *testing.T) {
	m, ctx := running(t), t.Context()
	if _, err := m.EnableRoot(ctx, datastores.NewSecret("pass")); err != nil {
		t.Fatal(err)
	}
	c := tenant(m.env.Address, rootName, "pass")
	defer func() { _ = c.Close() }()
	if err := c.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got := show(t, m, "maxmemory"); got != strconv.Itoa(192<<20) {
		t.Errorf("maxmemory = %v; want three quarters of 256 MB", got)
	}
	for _, err := range []error{m.Stop(ctx), m.Start(ctx)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, err := tenant(m.env.Address, rootName, "pass").Get(ctx, "k").Result(); err != nil || got != "v" {
		t.Errorf("after a restart k = %q, %v", got, err)
	}
}

func TestServerThatDoesNotAnswerIsBlocked(t *testing.T) {
	m := running(t)
	pid, _, _ := m.service.Running()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if st := m.Status(ctx); st.Service != datastores.StatusBlocked || st.Since.IsZero() {
		t.Errorf("status = %+v, want blocked", st)
	}
}

func TestNoPasswordInAFile(t *testing.T) {
	m := running(t)
	const secret = "Tell-Nobody-42"
	if _, err := m.EnableRoot(t.Context(), datastores.NewSecret(secret)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{m.env.Dir, m.env.DataDir} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			if strings.Contains(string(b), secret) {
				t.Errorf("%s holds root's password", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	info, err := os.Stat(m.env.Dir + "/" + passwordFile)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the administration password's file: %v, %v", info.Mode(), err)
	}
}

func TestOptionsProblems(t *testing.T) {
	o := DefaultOptions()
	if problems := o.Problems(); len(problems) > 0 {
		t.Errorf("the defaults have problems: %v", problems)
	}
	o.Databases, o.AppendFsync, o.MaxMemoryPolicy, o.MaxMemoryPercent, o.Program, o.MountPoint, o.Server = 0, "yes", "lru", 100, "redis", "x", "redis"
	if problems := o.Problems(); len(problems) != 7 {
		t.Errorf("problems: %v, want 7", problems)
	}
}

func words(command string) []any {
	var args []any
	for _, w := range strings.Fields(command) {
		args = append(args, w)
	}
	return args
}

func TestStartWithoutItsVolume(t *testing.T) {
	m := running(t)
	if err := m.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(m.dataPath(folder)); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context()); err == nil {
		t.Error("an empty server was started where the volume is missing")
	}
}
