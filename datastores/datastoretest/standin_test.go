package datastoretest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
)

// standInEnv tells this program that it is to be a server, and where it listens: networks and addresses.
const standInEnv = "COFFER_TEST_STAND_IN"

const (
	standInPort = 20801
	wildPort    = 20804 // not one at which others listen: who listens everywhere takes it from all
	privatePort = 20802
)

func TestMain(m *testing.M) {
	if where := os.Getenv(standInEnv); where != "" {
		standIn(strings.Fields(where))
		return
	}
	os.Exit(m.Run())
}

// standIn listens and lets in whoever says hello. Its last argument is how many MB it takes.
func standIn(where []string) {
	megabytes, _ := strconv.Atoi(os.Args[len(os.Args)-1])
	taken := bytes.Repeat([]byte{1}, megabytes<<20)
	for i := 0; i+1 < len(where); i += 2 {
		l, err := net.Listen(where[i], where[i+1])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go func() {
			for {
				if c, err := l.Accept(); err == nil {
					_ = c.Close()
				}
			}
		}()
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	<-ended
	clear(taken)
}

// processManager is a datastore without any capability whose server is a process: a stand-in.
type processManager struct {
	env     datastores.Env
	service *service.Service
	sockets []string
	leaves  bool // whatever else its user runs
}

// processOptions have none of their own.
type processOptions struct{ datastores.GuestOptions }

func (o processOptions) Common() datastores.GuestOptions { return o.GuestOptions }

// newProcess is a manager of a server as it should be.
func newProcess(env datastores.Env) *processManager {
	return &processManager{
		env: env,
		service: &service.Service{
			Name: "stand-in", Dir: env.Dir, LogDir: volume.Data(env), LogFile: "log", CgroupDirs: env.CgroupDirs,
			Credential: service.Credential(env.UID, env.GID),
			// Not by name: the server's user may not look into the directory that this program is in.
			Argv: []string{"/proc/self/exe", env.DataDir, strconv.Itoa(env.MemoryMB / 64)},
		},
		sockets: []string{"tcp", net.JoinHostPort(env.Address, strconv.Itoa(standInPort))},
	}
}

func (m *processManager) Prepare(ctx context.Context, req datastores.PrepareRequest) error {
	req.Progress("starting a stand-in")
	return m.Start(ctx)
}

func (m *processManager) Start(ctx context.Context) error {
	m.service.ExtraEnv = []string{standInEnv + "=" + strings.Join(m.sockets, " ")}
	if err := m.service.Start(ctx); err != nil {
		return err
	}
	return m.service.Await(ctx, m.ping)
}

func (m *processManager) ping(ctx context.Context) error {
	c, err := new(net.Dialer).DialContext(ctx, m.sockets[0], m.sockets[1])
	if err != nil {
		return err
	}
	return c.Close()
}

func (m *processManager) Stop(ctx context.Context) error {
	if m.leaves {
		as := m.service.Credential
		m.service.Credential = nil
		defer func() { m.service.Credential = as }()
	}
	return m.service.Stop(ctx)
}

func (m *processManager) Status(ctx context.Context) datastores.Status {
	_, since, ok := m.service.Running()
	switch {
	case !ok:
		return datastores.Status{Service: datastores.StatusShutdown}
	case m.ping(ctx) != nil:
		return datastores.Status{Service: datastores.StatusBlocked, Since: since, Message: "it does not answer"}
	}
	return datastores.Status{Service: datastores.StatusHealthy, Since: since}
}

// processHarness is that of the stand-in, with a defect or none.
func processHarness(plant func(*processManager)) datastoretest.Harness {
	open := func(env datastores.Env, _ processOptions) datastores.Manager {
		m := newProcess(env)
		plant(m)
		return m
	}
	offer := datastores.Offer{Datastore: "stand-in", Version: "1", Description: "a process", Guest: []byte("{}")}
	offer.Server.TCPPorts = []datastores.PortRange{{First: standInPort, Last: standInPort}, {First: wildPort, Last: wildPort}}
	return datastoretest.Harness{
		Plugin:  datastores.NewPlugin("standin", processOptions{datastores.GuestOptions{MountPoint: "/var/lib/stand-in"}}, open, offer),
		NewEnv:  func(t *testing.T) datastores.Env { return datastoretest.NewEnv(t) },
		Connect: func(context.Context, string, string, string, string) error { return errors.New("it lets nobody in") },
		Timeout: 10 * time.Second,
	}
}

// TestProcess: a datastore with a real process and no capability passes the suite.
func TestProcess(t *testing.T) {
	datastoretest.Run(t, processHarness(func(*processManager) {}))
}

// processDefects are faults of what a server is as a process, and the part of the suite that must find each.
func processDefects() map[string]struct {
	found string
	plant func(*processManager)
} {
	also := func(network, address string) func(*processManager) {
		return func(m *processManager) { m.sockets = append(m.sockets, network, address) }
	}
	return map[string]struct {
		found string
		plant func(*processManager)
	}{
		"it listens everywhere": {"process/sockets", also("tcp", fmt.Sprint(":", wildPort))},
		"it listens elsewhere":  {"process/sockets", also("tcp", "127.0.0.1:0")},
		"a port that nobody knows": {"process/sockets", func(m *processManager) {
			m.sockets = append(m.sockets, "tcp", net.JoinHostPort(m.env.Address, "20803"))
		}},
		"a private port that lets in whoever comes": {"process/sockets", func(m *processManager) {
			m.sockets = append(m.sockets, "tcp", net.JoinHostPort(m.env.Address, strconv.Itoa(privatePort)))
		}},
		"a socket that is in no directory": {"process/sockets", also("unix", "@stand-in")},
		"it runs as the guest":             {"process/user", func(m *processManager) { m.service.Credential = nil }},
		"a further group": {"process/user", func(m *processManager) {
			m.service.Credential = &syscall.Credential{Uid: uint32(m.env.UID), Gid: uint32(m.env.GID), Groups: []uint32{4}}
		}},
		"no control group":                  {"process/control groups", func(m *processManager) { m.service.CgroupDirs = nil }},
		"more memory than it is allowed":    {"process/size", func(m *processManager) { m.service.Argv[2] = strconv.Itoa(m.env.MemoryMB) }},
		"it leaves a tenant's daemon":       {"process/leftovers", func(m *processManager) { m.leaves = true }},
		"it writes beside its volume":       {"process/output", func(m *processManager) { m.service.LogDir = volume.Own(m.env) }},
		"the memory of a resize is ignored": {"memory", func(m *processManager) { m.service.Argv[2] = "1" }},
	}
}

// TestPlantedProcesses is TestPlantedDefects for processes.
func TestPlantedProcesses(t *testing.T) {
	if name := os.Getenv(plantedEnv); name != "" {
		h := processHarness(processDefects()[name].plant)
		if strings.HasPrefix(name, "a private port") {
			h.PrivatePorts = map[int]func(context.Context, datastores.Env) error{privatePort: func(ctx context.Context, env datastores.Env) error {
				c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(env.Address, strconv.Itoa(privatePort)))
				if err == nil {
					err = c.Close()
				}
				return err
			}}
		}
		datastoretest.Run(t, h)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("only root gives a server a user of its own")
	}
	for name, d := range processDefects() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantFound(t, name, d.found)
		})
	}
}
