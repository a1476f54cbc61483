package gateway_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
	"github.com/cofferdb/coffer/gateway/plan"
)

// tinyEtcd runs the machine's own etcd with room for 2 MiB, and returns where, and what fills it.
func tinyEtcd(t *testing.T) (endpoint string, fill func()) {
	t.Helper()
	datastoretest.Require(t, "/usr/bin/etcd", "etcd-server")
	datastoretest.Require(t, "/usr/bin/etcdctl", "etcd-client")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint = "http://" + l.Addr().String()
	_ = l.Close()
	cmd := exec.Command("etcd", "--data-dir", t.TempDir(), "--quota-backend-bytes", fmt.Sprint(2<<20), "--listen-peer-urls", "http://127.0.0.1:0",
		"--listen-client-urls", endpoint, "--advertise-client-urls", endpoint, "--logger", "zap", "--log-level", "error", "--unsafe-no-fsync")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return endpoint, func() {
		t.Helper()
		waitFor(t, func() bool {
			put := exec.Command("etcdctl", "put", "/junk")
			put.Env, put.Stdin = ctlEnv(endpoint), strings.NewReader(strings.Repeat("x", 300<<10))
			out, err := put.CombinedOutput()
			return err != nil && strings.Contains(string(out), "database space exceeded")
		})
	}
}

func ctlEnv(endpoint string) []string {
	return append(os.Environ(), "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS="+endpoint)
}

// operatorsCommands are those of docs/operations.md for a full etcd, but for the line that says which etcd.
func operatorsCommands(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)## When etcd is full.*?```sh\n(?:export [^\n]*\n)+(.*?)```").FindSubmatch(page)
	if found == nil {
		t.Fatal("docs/operations.md does not say what to do when etcd is full")
	}
	return string(found[1])
}

// TestEtcdFull fills a real etcd while an instance restarts, until its deadline has passed. Every change is answered with what is
// to be done, reads go on, nobody is absent, nothing fails, also for a gateway that begins meanwhile; and when an operator has done
// what the page says, everything goes on.
func TestEtcdFull(t *testing.T) {
	endpoint, fill := tinyEtcd(t)
	store := etcdtest.Open(t, endpoint)
	gatewaytest.Define(t, store)
	g := gatewaytest.Start(t, store, gatewaytest.Hold(2*time.Second))
	host := gatewaytest.StartHost(t, g)
	c := g.Client(gatewaytest.Member)
	idle, busy := c.Create(t, "idle", tenant), c.Create(t, "busy", tenant)
	c.Await(t, idle, "ACTIVE", soon)
	release := host.Memory.Hold(c.Await(t, busy, "ACTIVE", soon).Text("instance", "ip", 0), datastores.MethodStart)
	c.Want(t, 202, http.MethodPost, gatewaytest.Instance(busy)+"/action", `{"restart":{}}`)
	deadline := time.Now().Add(3 * time.Second)
	expire(t, store, busy, deadline)

	fill()
	release()
	for _, call := range []struct{ method, path, body string }{
		{http.MethodPost, "/instances", `{"instance":{"name":"x","flavorRef":1,"volume":{"size":1}}}`},
		{http.MethodPut, gatewaytest.Instance(idle), `{"instance":{"name":"y"}}`},
		{http.MethodPost, gatewaytest.Instance(idle) + "/databases", `{"databases":[{"name":"more"}]}`},
		{http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"b","instance":%q}}`, idle)},
		{http.MethodDelete, gatewaytest.Instance(idle), ""},
	} {
		if a := c.Do(t, call.method, call.path, call.body); a.Status != 507 || !strings.Contains(string(a.Body), "When etcd is full") {
			t.Errorf("%s %s: %d %s", call.method, call.path, a.Status, a.Body)
		}
	}
	second := gatewaytest.Start(t, etcdtest.Open(t, endpoint)).Client(gatewaytest.Member)
	stands := func() {
		t.Helper()
		for _, c := range []gatewaytest.Client{c, second} {
			for id, want := range map[string]string{idle: "ACTIVE", busy: "REBOOT"} {
				if got := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(id), "").Text("instance", "status"); got != want {
					t.Errorf("%s is %s; want %s", id, got, want)
				}
			}
		}
	}
	waitFor(t, func() bool { stands(); return time.Since(deadline) > time.Second })

	heal := exec.Command("sh", "-ec", operatorsCommands(t))
	heal.Env = ctlEnv(endpoint)
	if out, err := heal.CombinedOutput(); err != nil {
		t.Fatalf("what the page says: %v\n%s", err, out)
	}
	if got := second.Want(t, 200, http.MethodGet, gatewaytest.Instance(busy), "").Text("instance", "status"); got == "ERROR" {
		t.Error("the restart failed because its result could not be stored")
	}
	c.Await(t, busy, "ACTIVE", time.Minute)
	c.Want(t, 202, http.MethodPost, gatewaytest.Instance(idle)+"/databases", `{"databases":[{"name":"more"}]}`)
}

// expire sets when the operation of an instance is overdue.
func expire(t *testing.T, store *etcdschema.Store, id string, deadline time.Time) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	key := etcdschema.InstanceKey(gatewaytest.Project, id)
	if _, err := store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		op := *rec.Value.Operation
		op.Deadline = deadline
		rec.Value.Operation = &op
		return append(plan.Due(&rec.Value, time.Now()), etcdschema.Put(key, rec.Value)), nil
	}); err != nil {
		t.Fatal(err)
	}
}
