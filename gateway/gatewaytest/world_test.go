package gatewaytest_test

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// world is a whole Coffer in processes, each of which can be killed: an etcd, a gateway, a host and its guests.
type world struct {
	*machine
	tenant
	etcdURL             string
	etcd, gateway, host *unit // etcd is nil when it runs inside the gateway
	bystanders          []*bystander
	lives               int
}

// newWorld starts one, with the built-in definitions and a bystander of each datastore.
func newWorld(t *testing.T, p gatewaytest.Programs, embedded bool) *world {
	t.Helper()
	w := &world{machine: newMachine(t)}
	w.etcdURL = "http://" + w.address(2, 2379)
	logs, gatewayURL := gatewaytest.LogDir(t), "http://"+w.address(1, 8779)
	args := []string{
		"-insecure-http", "-listen", w.address(1, 8779), "-data-dir", w.path("gateway"), "-key-file", gatewaytest.KeysFile(t),
		"-identity", "none", "-tokens-file", gatewaytest.TokensFile(t), "-hold", "5s",
		"-backup-dir", w.path("backups"),
	}
	if embedded {
		w.etcdURL = "unix://" + w.path("gateway/etcd/client.sock")
	} else {
		peers := "http://" + w.address(2, 2380)
		w.etcd = startUnit(t, p, logs, "", "/usr/bin/etcd", "--data-dir", w.path("etcd"),
			"--listen-client-urls", w.etcdURL, "--advertise-client-urls", w.etcdURL, "--listen-peer-urls", peers,
			"--initial-advertise-peer-urls", peers, "--initial-cluster", "default="+peers)
		args = append(args, "-etcd-endpoints", w.etcdURL)
	}
	w.gateway = startUnit(t, p, logs, "serving", "coffer-gateway", args...)
	p.PutDefinitions(t, w.etcdURL)
	hostID := w.enrol(t, gatewayURL)
	w.host = startUnit(t, p, logs, "", "coffer-host", w.hostArgs(p, gatewayURL)...)
	w.Client = gatewaytest.Client{URL: gatewayURL, Token: gatewaytest.Member, Project: gatewaytest.Project}
	admin := w.Client
	admin.Token = gatewaytest.Admin
	admin.AwaitHost(t, hostID)
	for _, d := range []datastore{redisStore, mariadbStore} {
		w.bystanders = append(w.bystanders, w.newBystander(t, d))
	}
	return w
}

// end removes the bystanders; the project must have nothing then.
func (w *world) end(t *testing.T) {
	t.Helper()
	for _, b := range w.bystanders {
		b.check(t)
		if n := b.store.starts(t, w.machine, b.id); n != 1 {
			t.Errorf("the %s server that nobody touched was started %d times", b.store, n)
		}
		w.remove(t, b.id)
	}
	if keys := w.keysLeft(t); len(keys) > 0 {
		t.Errorf("etcd holds of instances that are gone: %q", keys)
	}
	admin := w.tenant
	admin.Token = gatewaytest.Admin
	a := admin.do(t, http.StatusOK, nil, http.MethodGet, "/mgmt/quotas/"+gatewaytest.Project, "")
	for i := 0; a.At("quotas", i) != nil; i++ {
		if n := a.At("quotas", i, "in_use"); n != 0.0 {
			t.Errorf("%s in use at the end: %v", a.Text("quotas", i, "resource"), n)
		}
	}
}

// keysLeft lists what etcd holds of instances that are gone, but for their timelines and
// what admins are told of what was deleted.
func (w *world) keysLeft(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("etcdctl", "--endpoints", w.etcdURL, "get", "--prefix", "/", "--keys-only")
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	var left []string
	for key := range strings.FieldsSeq(string(out)) {
		of := func(id string) bool { return strings.Contains(key, id) }
		kept := strings.HasPrefix(key, "/server/events/") || strings.HasPrefix(key, "/server/deleted/")
		if !kept && slices.ContainsFunc(w.instances, of) {
			left = append(left, key)
		}
	}
	return left
}

// remove deletes an instance and waits until it is gone.
func (w *world) remove(t *testing.T, id string) {
	t.Helper()
	w.do(t, http.StatusAccepted, gone, http.MethodDelete, gatewaytest.Instance(id), "")
	w.AwaitGone(t, id, patience)
}

// awaitGuest waits until there is a guest that is no bystander's.
func (w *world) awaitGuest() {
	_ = until.Holds(patience, func() bool {
		guests := w.guests()
		for _, b := range w.bystanders {
			delete(guests, b.id)
		}
		return len(guests) > 0
	})
}

// killGuests kills every guest there is. The host starts them again, in its own time.
func (w *world) killGuests(time.Duration) error {
	for _, pid := range w.guests() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// killGuestOf kills an instance's guest, when there is one.
func (m *machine) killGuestOf(id string) func(time.Duration) error {
	return func(time.Duration) error {
		if pid := m.guests()[id]; pid > 0 {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
		return nil
	}
}

// unit is a program that is killed and started again, always the same.
type unit struct {
	start func() (*gatewaytest.Process, error)

	mu      sync.Mutex
	process *gatewaytest.Process
}

func startUnit(t *testing.T, p gatewaytest.Programs, logs, ready, name string, args ...string) *unit {
	t.Helper()
	u := &unit{start: func() (*gatewaytest.Process, error) {
		process, _, err := p.Start(logs, ready, name, args...)
		return process, err
	}}
	var err error
	if u.process, err = u.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.process != nil {
			u.process.Stop()
		}
	})
	return u
}

// strike kills the program as kill -9 does, and starts it again after a time.
func (u *unit) strike(away time.Duration) (err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.process.Kill()
	until.Passed(away)
	u.process, err = u.start()
	return err
}
