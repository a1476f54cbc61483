package main

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

// TestMain lets the test binary be the guest.
func TestMain(m *testing.M) {
	if os.Getenv("COFFER_GUEST_CONFIG") != "" {
		main()
	}
	os.Exit(m.Run())
}

// machine is a gateway, and a place where the guest of one instance runs.
type machine struct {
	*testing.T
	gateway *agentpolltest.Server
	env     datastores.Env
	id      string
	config  string // file
	guest   *exec.Cmd
}

func newMachine(t *testing.T) *machine {
	datastoretest.Require(t, "/usr/bin/redis-server", "redis-server")
	m := &machine{T: t, gateway: agentpolltest.NewServer(t), env: datastoretest.NewEnv(t)}
	token, id := m.gateway.Token(json.RawMessage(`{"mount_point":"/data"}`))
	m.id = id
	b, err := json.Marshal(datastores.GuestConfig{
		InstanceID: id, Gateways: []string{m.gateway.URL}, AllowHTTP: true, Token: datastores.NewSecret(token).ForSealing(), Dir: m.env.Dir,
		Root: filepath.Dir(m.env.DataDir), Address: m.env.Address, UID: m.env.UID, GID: m.env.GID, MemoryMB: m.env.MemoryMB,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := volume.Own(m.env).WriteFile("guest.json", b); err != nil {
		t.Fatal(err)
	}
	m.config = filepath.Join(m.env.Dir, "guest.json")
	t.Cleanup(m.endServer)
	t.Cleanup(m.kill)
	return m
}

func (m *machine) start() {
	m.Helper()
	m.guest = exec.Command(os.Args[0], "run")
	m.guest.Env = append(os.Environ(), "COFFER_GUEST_CONFIG="+m.config)
	m.guest.Stderr = m.Output()
	if err := m.guest.Start(); err != nil {
		m.Fatal(err)
	}
}

// kill ends the guest as a fault does.
func (m *machine) kill() {
	if m.guest != nil {
		_ = m.guest.Process.Kill()
		_ = m.guest.Wait()
	}
	m.guest = nil
}

func (m *machine) server() *service.Service {
	return &service.Service{Name: "redis", Dir: m.env.Dir}
}

func (m *machine) endServer() {
	if err := m.server().Stop(context.Background()); err != nil {
		m.Error(err)
	}
}

// call runs a command through the gateway and waits for its result.
func (m *machine) call(method, args string) agentpoll.Result {
	m.Helper()
	return m.wait(m.gateway.Enqueue(m.id, agentpoll.Command{Method: method, Args: json.RawMessage(args)}))
}

func (m *machine) wait(command string) agentpoll.Result {
	m.Helper()
	ctx, cancel := context.WithTimeout(m.Context(), time.Minute)
	defer cancel()
	r, err := m.gateway.WaitResult(ctx, command)
	if err != nil {
		m.Fatal(err)
	}
	return r
}

func (m *machine) must(method, args string) {
	m.Helper()
	if r := m.call(method, args); r.Error != nil {
		m.Fatalf("%s: %v", method, r.Error)
	}
}

func (m *machine) login(password string) error {
	c := redis.NewClient(&redis.Options{
		Addr: net.JoinHostPort(m.env.Address, "6379"), Password: password, MaxRetries: -1, DialerRetries: 1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	defer func() { _ = c.Close() }()
	return c.Set(m.Context(), "k", "v", 0).Err()
}

// TestLifeOfAGuest takes an instance from its token to a running server, kills the guest, and goes on with the next.
func TestLifeOfAGuest(t *testing.T) {
	m := newMachine(t)
	m.start()
	m.must(datastores.MethodPrepare, `{"root_password":"first"}`)
	if err := m.login("first"); err != nil {
		t.Fatal(err)
	}
	pid, _, ok := m.server().Running()
	if !ok {
		t.Fatal("there is no server")
	}
	t.Logf("idle guest: %s of memory", resident(t, m.guest.Process.Pid))

	m.kill()
	if err := m.login("first"); err != nil {
		t.Errorf("the server went with its guest: %v", err)
	}
	m.start()
	r := m.call(datastores.MethodEnableRoot, `{"password":"second"}`)
	if r.Error != nil || string(r.Value) != `{"name":"-"}` {
		t.Errorf("enable_root = %s, %v", r.Value, r.Error)
	}
	if again, _, _ := m.server().Running(); again != pid {
		t.Errorf("the new guest runs process %d, the old one ran %d", again, pid)
	}
	if r := m.call(datastores.MethodListDatabases, ``); r.Error == nil || r.Error.Kind != agentpoll.Unsupported {
		t.Errorf("list_databases = %+v, want it to be unsupported", r)
	}
	m.must(datastores.MethodRestart, ``)
	if after, _, _ := m.server().Running(); after == pid {
		t.Error("restart has not restarted the server")
	}
	m.must(datastores.MethodStop, ``)
	if err := m.login("second"); err == nil {
		t.Error("the server answers after stop_db")
	}
	m.must(datastores.MethodStart, ``)
	if err := m.login("second"); err != nil {
		t.Error(err)
	}
	if err := m.guest.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := m.guest.Wait(); err != nil {
		t.Errorf("SIGTERM ended the guest with %v", err)
	}
	if err := m.login("second"); err != nil {
		t.Errorf("the server went with its guest: %v", err)
	}
}

// TestKilledDuringRestart kills the guest at different moments of a restart. The server must be restarted once at
// least, and never again after it answered.
func TestKilledDuringRestart(t *testing.T) {
	m := newMachine(t)
	m.start()
	m.must(datastores.MethodPrepare, ``)
	for _, after := range []time.Duration{0, 5 * time.Millisecond, 15 * time.Millisecond, 40 * time.Millisecond, 80 * time.Millisecond} {
		before, _, _ := m.server().Running()
		command := m.gateway.Enqueue(m.id, agentpoll.Command{Method: datastores.MethodRestart})
		until.Passed(after) // a moment to be killed at; every one must do
		m.kill()
		at, _, _ := m.server().Running()
		m.start()
		if r := m.wait(command); r.Error != nil {
			t.Fatal(r.Error)
		}
		now, _, ok := m.server().Running()
		if !ok || now == before {
			t.Errorf("killed after %v: process %d before, %d now", after, before, now)
		}
		if at != 0 && at != before && now != at {
			t.Errorf("killed after %v: restarted twice, %d, %d, %d", after, before, at, now)
		}
	}
}

// resident is how much memory a process has, as the kernel says it.
func resident(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}
