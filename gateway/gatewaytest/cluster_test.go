package gatewaytest_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestRedisCluster makes a cluster of real servers in sandboxes, which speak TLS to each other, as they do by default, and does all that
// Debian's openstack command and troveclient can ask of clusters. A client that knows clusters writes, it grows, and it shrinks; what was
// acknowledged is there after each, and in another cluster that begins with a backup of it.
func TestRedisCluster(t *testing.T) {
	t.Parallel()
	datastoretest.Require(t, openstackProgram, "python3-openstackclient")
	datastoretest.Require(t, "/usr/bin/trove", "python3-troveclient")
	s := newStage(t)
	shell := s.shell(t, "alice", s.password, "shop")
	tenant := gatewaytest.Client{URL: s.url, Token: s.login(t, "alice", s.password, "shop").Token(), Project: s.shop} // for waiting
	made := shell.run("database cluster create ring redis 7.0"+strings.Repeat(clusterMember, 3)+" -f json").
		says("name", "ring").says("datastore", "redis").says("task_name", "BUILDING").says("instance_count", 3.0)
	at := "/clusters/" + made.Text("id")
	t.Cleanup(func() { awaitNoCluster(t, tenant, at) })
	password := made.Text("password")
	s.secrets.know("root of the cluster", password)
	c := &realCluster{T: t, stage: s, tenant: tenant, at: at, password: password, owned: map[string]bool{}}
	c.settle(3)
	shell.run("database cluster list -f json").row("Name", "ring")
	shell.run("database cluster show ring -f json").says("datastore_version", "7.0").says("task_name", "NONE")
	members := shell.run("database cluster list instances ring -f json")
	for _, id := range c.ids {
		if got := members.row("ID", id); got["Status"] != "ACTIVE" || got["Flavor ID"] != "1" || got["Size"] != 1.0 {
			t.Errorf("member %s: %v", id, got)
		}
	}
	c.writesKeys(0, 300)
	for _, at := range c.addresses {
		// Other members have been there: else the cluster would not be well.
		if err := connectFrom("0.0.0.0", net.JoinHostPort(at, "16379")); !timedOut(err) {
			t.Errorf("the bus of member %s, from outside: %v, want no answer", at, err)
		}
	}

	shell.run("database cluster grow" + clusterMember + " ring")
	c.settle(4)
	c.writesKeys(300, 400)
	shell.run("database cluster shrink ring " + c.ids[0])
	c.settle(3)
	c.writesKeys(400, 500)
	group := tenant.Want(t, http.StatusOK, http.MethodPost, "/configurations",
		`{"configuration":{"name":"small","datastore":{"type":"redis","version":"7.0"},"values":{"maxclients":777}}}`).Text("configuration", "id")
	tenant.Want(t, http.StatusAccepted, http.MethodPost, at, fmt.Sprintf(`{"configuration_attach":{"configuration_id":%q}}`, group))
	c.settle(3)
	c.tells("clients", "maxclients:777")
	tenant.Want(t, http.StatusAccepted, http.MethodPost, at, `{"configuration_detach":{}}`)
	c.settle(3)
	c.tells("clients", "maxclients:10000")
	c.password = tenant.Want(t, http.StatusOK, http.MethodPost, at+"/root", "").Text("user", "password")
	s.secrets.know("root of the cluster, enabled again", c.password)
	c.writesKeys(500, 510)
	shell.run("database cluster upgrade ring 7.0") // they have it: what its definition says is taken
	c.settle(3)

	chief := s.shell(t, "admin", s.chief, "admin")
	stuck := chief.run("database cluster create stuck redis 7.0" + clusterMember + " -f json")
	operator := gatewaytest.Client{URL: s.url, Token: s.login(t, "admin", s.chief, "admin").Token(), Project: stuck.Text("tenant_id")}
	s.secrets.know("root of a cluster that is stuck", stuck.Text("password"))
	s.owns(chief.run("database cluster list instances stuck -f json").Text(0, "ID"))
	chief.run("database cluster reset status stuck")
	chief.run("database cluster force delete stuck")
	awaitNoCluster(t, operator, "/clusters/"+stuck.Text("id"))
	c.backup("ring", "nightly")
	c.writesKeys(510, 520)
	shell.run("database cluster delete ring")
	awaitNoCluster(t, tenant, at)
	c.restore("again", "nightly", 510)
}

// backup makes one of a cluster, of which each shard has a part.
func (c *realCluster) backup(cluster, name string) {
	c.Helper()
	made := c.coffer("backup", "create", cluster, name, "--cluster", "--wait")
	if made.Text("status") != "COMPLETED" || made.Text("cluster_id") == "" {
		c.Errorf("the backup of the cluster: %s", made.Body)
	}
}

// restore makes another cluster with a backup, of as many members, and deletes it. It has so many items and no more, and goes on from there.
func (c *realCluster) restore(name, backup string, items int) {
	c.Helper()
	made := c.coffer("cluster", "create", name, "--datastore", "redis", "--flavor", "1", "--size", "1", "--members", fmt.Sprint(len(c.ids)), "--backup", backup)
	again := &realCluster{T: c.T, stage: c.stage, tenant: c.tenant, at: "/clusters/" + made.Text("id"), password: made.Text("password"), owned: map[string]bool{}}
	c.Cleanup(func() { awaitNoCluster(c.T, c.tenant, again.at) })
	c.stage.secrets.know("root of a cluster that was restored", again.password)
	again.settle(len(c.ids))
	client := again.client()
	defer client.Close()
	for n := range items + 1 {
		got, err := client.Get(c.Context(), fmt.Sprint("item:", n)).Result()
		if is := err == nil && got == item(n); is != (n < items) {
			c.Fatalf("item %d of %d is %q (%v)", n, items, got, err)
		}
	}
	again.writesKeys(items, items+20)
	c.coffer("backup", "delete", backup)
}

// coffer runs the command line, which must succeed, as the tenant. It prints JSON.
func (c *realCluster) coffer(args ...string) gatewaytest.Answer {
	c.Helper()
	cmd := exec.CommandContext(c.Context(), programs(c.T).Path("coffer"), append(args, "-o", "json")...)
	cmd.Env = append(os.Environ(), "COFFER_ENDPOINT="+c.tenant.URL+"/v1.0/"+c.tenant.Project, "COFFER_TOKEN="+c.tenant.Token)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		c.Fatalf("coffer %v: %v\n%s", args, err, stderr.String())
	}
	return gatewaytest.Answer{Body: out}
}

const clusterMember = " --instance flavor=1,volume=1"

// awaitNoCluster waits until a cluster is gone, which it asks for when nobody has.
func awaitNoCluster(t *testing.T, c gatewaytest.Client, at string) {
	t.Helper()
	if a := c.Do(t, http.MethodGet, at, ""); a.Status == http.StatusOK && a.Text("cluster", "task", "name") != "DELETING" {
		c.Want(t, http.StatusAccepted, http.MethodPost, at, `{"reset-status":{"force_delete":true}}`)
	}
	until.True(t, lifeTimeout, "the cluster is gone", func() bool { return c.Do(t, http.MethodGet, at, "").Status == http.StatusNotFound })
}

// realCluster is a cluster as its client knows it.
type realCluster struct {
	*testing.T
	stage          *stage
	tenant         gatewaytest.Client
	at, password   string
	ids, addresses []string
	owned          map[string]bool
}

// acts has the cluster do something, after which it has so many members.
func (c *realCluster) acts(body string, members int) {
	c.Helper()
	c.tenant.Want(c, http.StatusAccepted, http.MethodPost, c.at, body)
	c.settle(members)
}

// settle waits until nothing is being done to the cluster, and wants so many members, all ACTIVE.
func (c *realCluster) settle(members int) {
	c.Helper()
	var a gatewaytest.Answer
	until.True(c, 2*lifeTimeout, "the cluster has settled", func() bool {
		a = c.tenant.Want(c, http.StatusOK, http.MethodGet, c.at, "")
		return a.Text("cluster", "task", "name") == "NONE"
	})
	c.ids, c.addresses = nil, nil
	for i := 0; a.At("cluster", "instances", i) != nil; i++ {
		id := a.Text("cluster", "instances", i, "id")
		if !c.owned[id] {
			c.stage.owns(id)
			c.owned[id] = true
		}
		if got := a.Text("cluster", "instances", i, "status"); got != "ACTIVE" {
			c.Errorf("member %s is %s", id, got)
		}
		c.ids = append(c.ids, id)
		c.addresses = append(c.addresses, a.Text("cluster", "instances", i, "ip", 0))
	}
	if len(c.ids) != members || a.At("cluster", "fault") != nil {
		c.Fatalf("the cluster has %d members, want %d: %s", len(c.ids), members, a.Body)
	}
}

// client is one that learns now who is a member.
func (c *realCluster) client() *redis.ClusterClient {
	var at []string
	for _, address := range c.addresses {
		at = append(at, net.JoinHostPort(address, "6379"))
	}
	return redis.NewClusterClient(&redis.ClusterOptions{Addrs: at, Password: c.password, ContextTimeoutEnabled: true})
}

// writesKeys puts keys into Redis, and wants all that have been put before as well.
func (c *realCluster) writesKeys(from, to int) {
	c.Helper()
	client := c.client()
	defer client.Close()
	for n := from; n < to; n++ {
		if err := client.Set(c.Context(), fmt.Sprint("item:", n), item(n), time.Duration(0)).Err(); err != nil {
			c.Fatalf("item %d: %v", n, err)
		}
	}
	for n := range to {
		if got, err := client.Get(c.Context(), fmt.Sprint("item:", n)).Result(); err != nil || got != item(n) {
			c.Fatalf("item %d is %q (%v)", n, got, err)
		}
	}
}

// tells wants a line in a section of what every member says of itself.
func (c *realCluster) tells(section, line string) {
	c.Helper()
	for _, at := range c.addresses {
		client := redis.NewClient(&redis.Options{Addr: net.JoinHostPort(at, "6379"), Password: c.password, DisableIdentity: true})
		text, err := client.Info(c.Context(), section).Result()
		_ = client.Close()
		if err != nil || !strings.Contains(text, line) {
			c.Errorf("member %s does not say %s (%v):\n%s", at, line, err, text)
		}
	}
}
