package gatewaytest_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// front is one address for tenants, host and guests. It starts a gateway process for each request, hands the request on
// to it, and kills it with the answer.
type front struct {
	programs gatewaytest.Programs
	logs     string
	args     []string // of every gateway
	slots    chan struct{}

	mu   sync.Mutex
	used int
	most int // at once
}

// gatewaysAtOnce is more than there are agents with a parked poll, a report under way and a tenant beside them.
const gatewaysAtOnce = 12

func startFront(t *testing.T, p gatewaytest.Programs, address string, args ...string) *front {
	t.Helper()
	f := &front{programs: p, logs: gatewaytest.LogDir(t), args: args, slots: make(chan struct{}, gatewaysAtOnce)}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: f, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("front: %v", err)
		}
		<-done
	})
	return f
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-r.Context().Done():
		return
	}
	process, address, err := f.programs.Start(f.logs, "serving", "coffer-gateway", f.args...)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer process.Kill()
	f.count()
	target, err := url.Parse(address)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host
		},
		ErrorLog: log.New(io.Discard, "", 0), // of agents that give up a poll to tell something
	}
	proxy.ServeHTTP(w, r)
}

func (f *front) count() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.used++
	f.most = max(f.most, len(f.slots))
}

// TestServerless lives two whole lives with a new gateway process for every single request, agents' polls included.
func TestServerless(t *testing.T) {
	t.Parallel()
	datastoretest.Require(t, "/usr/bin/redis-server", "redis-server")
	datastoretest.Require(t, "/usr/sbin/mariadbd", "mariadb-server")
	p := programs(t)
	m := newMachine(t)
	etcd := etcdtest.Start(t)
	p.PutDefinitions(t, etcd.Endpoint())
	f := startFront(t, p, m.address(1, 8779), "-insecure-http", "-listen", "127.0.0.1:0", "-etcd-endpoints", etcd.Endpoint(),
		"-data-dir", m.path("gateway"), "-key-file", gatewaytest.KeysFile(t),
		"-identity", "none", "-tokens-file", gatewaytest.TokensFile(t), "-hold", "5s")
	at := "http://" + m.address(1, 8779)
	hostID := m.enrol(t, at)
	p.Run(t, "", "coffer-host", m.hostArgs(p, at)...)
	c := gatewaytest.Client{URL: at, Token: gatewaytest.Member, Project: gatewaytest.Project}
	admin := c
	admin.Token = gatewaytest.Admin
	admin.AwaitHost(t, hostID)

	t.Run("redis", func(t *testing.T) { m.redisLife(t, c) })
	t.Run("mariadb", func(t *testing.T) { m.mariadbLife(t, c) })
	f.mu.Lock()
	defer f.mu.Unlock()
	t.Logf("%d gateways for as many requests, up to %d at once", f.used, f.most)
}

const lifeTimeout = 3 * time.Minute

// create asks for an instance; more is further JSON of it.
func (m *machine) create(t *testing.T, c gatewaytest.Client, d datastore, more string) gatewaytest.Answer {
	t.Helper()
	body := fmt.Sprintf(`{"instance":{"name":"life","flavorRef":1,"volume":{"size":1},"datastore":{"type":%q}%s}}`, d, more)
	a := c.Want(t, http.StatusOK, http.MethodPost, "/instances", body)
	m.instances = append(m.instances, a.Text("instance", "id"))
	return a
}

func (m *machine) redisLife(t *testing.T, c gatewaytest.Client) {
	created := m.create(t, c, redisStore, "")
	id := created.Text("instance", "id")
	at := gatewaytest.Instance(id)
	address := c.Await(t, id, "ACTIVE", lifeTimeout).Text("instance", "ip", 0)
	db := openRedis(t, address, created.Text("instance", "password"))
	if err := db.Set(t.Context(), "kept", "yes", 0).Err(); err != nil {
		t.Fatal(err)
	}
	c.Want(t, http.StatusNotImplemented, http.MethodPost, at+"/databases", `{"databases":[{"name":"a"}]}`)
	c.Want(t, http.StatusAccepted, http.MethodPost, at+"/action", `{"restart":{}}`)
	c.Await(t, id, "ACTIVE", lifeTimeout)
	root := c.Want(t, http.StatusOK, http.MethodPost, at+"/root", "")
	db = openRedis(t, address, root.Text("user", "password"))
	if got, err := db.Get(t.Context(), "kept").Result(); got != "yes" {
		t.Errorf("what was written before the restart: %q, %v", got, err)
	}
	if starts := redisStore.starts(t, m, id); starts != 2 {
		t.Errorf("redis was started %d times for a create and a restart", starts)
	}
	c.Want(t, http.StatusAccepted, http.MethodDelete, at, "")
	c.AwaitGone(t, id, lifeTimeout)
	if err := db.Ping(t.Context()).Err(); err == nil {
		t.Error("the database of a deleted instance answers")
	}
}

func (m *machine) mariadbLife(t *testing.T, c gatewaytest.Client) {
	id := m.create(t, c, mariadbStore, `,"databases":[{"name":"orders"}],"users":[{"name":"ann","password":"s3cret","databases":[{"name":"orders"}]}]`).Text("instance", "id")
	at := gatewaytest.Instance(id)
	address := c.Await(t, id, "ACTIVE", lifeTimeout).Text("instance", "ip", 0)
	ann := openMySQL(t, address, "ann", "s3cret", "orders")
	if _, err := ann.Exec("CREATE TABLE kept AS SELECT 'yes' AS word"); err != nil {
		t.Fatal(err)
	}
	c.Want(t, http.StatusAccepted, http.MethodPost, at+"/databases", `{"databases":[{"name":"stock"}]}`)
	c.Want(t, http.StatusAccepted, http.MethodPost, at+"/users", `{"users":[{"name":"bob","password":"pw","databases":[{"name":"stock"}]}]}`)
	if err := openMySQL(t, address, "bob", "pw", "stock").Ping(); err != nil {
		t.Errorf("bob cannot connect: %v", err)
	}
	c.Want(t, http.StatusAccepted, http.MethodPost, at+"/action", `{"restart":{}}`)
	c.Await(t, id, "ACTIVE", lifeTimeout)
	if got, err := column(ann, "SELECT word FROM kept"); !slices.Equal(got, []string{"yes"}) {
		t.Errorf("what was written before the restart: %q, %v", got, err)
	}
	root := c.Want(t, http.StatusOK, http.MethodPost, at+"/root", "")
	if err := openMySQL(t, address, root.Text("user", "name"), root.Text("user", "password"), "").Ping(); err != nil {
		t.Errorf("root cannot connect: %v", err)
	}
	if starts := mariadbStore.starts(t, m, id); starts != 2 {
		t.Errorf("mariadbd was started %d times for a create and a restart", starts)
	}
	c.Want(t, http.StatusAccepted, http.MethodDelete, at+"/databases/stock", "")
	c.Want(t, http.StatusAccepted, http.MethodDelete, at, "")
	c.AwaitGone(t, id, lifeTimeout)
	if err := ann.Ping(); err == nil {
		t.Error("the database of a deleted instance answers")
	}
}
