package gatewaytest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/mongodb/mongodbtest"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestMongoDBCluster makes a cluster of the double's servers with Debian's openstack command: there is no mongod, and no image has the double, so the host
// runs plain processes. A client writes numbered documents while members come and leave, restart with a parameter, get the next version, and are all
// killed. What was acknowledged is there, and in another cluster that begins with a backup.
func TestMongoDBCluster(t *testing.T) {
	t.Parallel()
	datastoretest.Require(t, openstackProgram, "python3-openstackclient")
	m := newMachine(t)
	m.wallless()
	s := newStageOn(t, m)
	s.offerDouble(t, mongodbtest.Build(t))
	shell := s.shell(t, "alice", s.password, "shop")
	tenant := gatewaytest.Client{URL: s.url, Token: s.login(t, "alice", s.password, "shop").Token(), Project: s.shop}
	made := shell.run("database cluster create shop mongodb 7.0"+strings.Repeat(clusterMember, 3)+" -f json").says("datastore", "mongodb").says("instance_count", 3.0)
	c := &documents{&realCluster{T: t, stage: s, tenant: tenant, at: "/clusters/" + made.Text("id"), owned: map[string]bool{}}}
	t.Cleanup(func() { awaitNoCluster(t, tenant, c.at) })
	c.settle(3)
	tenant.Want(t, http.StatusAccepted, http.MethodPost, gatewaytest.Instance(c.ids[1])+"/databases", `{"databases":[{"name":"shop"}]}`)
	tenant.Want(t, http.StatusAccepted, http.MethodPost, gatewaytest.Instance(c.ids[2])+"/users", `{"users":[{"name":"ann","password":"annsOwnPassword","databases":[{"name":"shop"}]}]}`)
	s.secrets.know("a user's password", "annsOwnPassword")
	root := tenant.Want(t, http.StatusOK, http.MethodPost, c.at+"/root", "{}")
	s.secrets.know("root of the cluster", root.Text("user", "password"))
	group := tenant.Want(t, http.StatusOK, http.MethodPost, "/configurations", `{"configuration":{"name":"few","values":{"net.maxIncomingConnections":500},"datastore":{"type":"mongodb","version":"7.0"}}}`)

	for _, part := range []struct {
		what string
		do   func()
	}{
		{"all get a parameter", func() {
			tenant.Want(t, http.StatusAccepted, http.MethodPost, c.at, fmt.Sprintf(`{"configuration_attach":{"configuration_id":%q}}`, group.Text("configuration", "id")))
			for _, id := range c.ids {
				tenant.Await(t, id, "RESTART_REQUIRED", lifeTimeout) // mongod reads all of them when it starts
			}
			c.idle()
			c.acts(`{"restart":{}}`, 3)
		}},
		{"one comes and one leaves", func() {
			first := c.ids[0]
			shell.run("database cluster grow" + clusterMember + " shop")
			c.settle(4)
			shell.run("database cluster shrink shop " + first)
			c.settle(3)
		}},
		{"all are upgraded", func() {
			shell.run("database cluster upgrade shop 8.0")
			c.settle(3)
		}},
		{"all are killed", c.killAll},
	} {
		c.during(part.what, part.do)
	}
	c.beginsAnew()
}

// offerDouble has the versions of MongoDB be active, with the double's programs.
func (s *stage) offerDouble(t *testing.T, p mongodbtest.Programs) {
	t.Helper()
	for _, version := range []string{"7.0", "8.0"} {
		for half, changes := range map[string]map[string]any{
			"server": {"active": true}, "guest": {"program": p.Mongod(version), "tools_dir": p.Dir(version), "packages": []string{}},
		} {
			name := half + "/datastores/mongodb/" + version
			var definition map[string]any
			if err := json.Unmarshal([]byte(builtIn(t, name+".json")), &definition); err != nil {
				t.Fatal(err)
			}
			for key, value := range changes {
				definition[key] = value
			}
			text, err := json.Marshal(definition)
			if err != nil {
				t.Fatal(err)
			}
			s.etcdctl(t, string(text), "put", "/"+name)
		}
	}
	s.wantProblems(t, "mongodb")
}

// documents is a cluster of MongoDB.
type documents struct{ *realCluster }

// ann is a client that finds the primary by any member.
func (c *documents) ann() *mongo.Client {
	c.Helper()
	a := c.tenant.Want(c, http.StatusOK, http.MethodGet, c.at, "")
	client, err := mongo.Connect(options.Client().ApplyURI(a.Text("cluster", "connections", "members")).SetServerSelectionTimeout(2 * time.Second).SetHeartbeatInterval(500 * time.Millisecond).
		SetRetryWrites(false).SetAuth(options.Credential{AuthMechanism: "SCRAM-SHA-256", Username: "ann", Password: "annsOwnPassword", PasswordSet: true}))
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	return client
}

func (c *documents) put(ctx context.Context, client *mongo.Client, n int) error {
	d := bson.D{{Key: "_id", Value: n}}
	_, err := client.Database("shop").Collection("sold").ReplaceOne(ctx, d, d, options.Replace().SetUpsert(true))
	return err
}

// count is how many documents there are.
func (c *documents) count(client *mongo.Client) int {
	c.Helper()
	cursor, err := client.Database("shop").Collection("sold").Find(c.Context(), bson.D{})
	if err != nil {
		c.Fatal(err)
	}
	var all []bson.D
	if err := cursor.All(c.Context(), &all); err != nil {
		c.Fatal(err)
	}
	return len(all)
}

// during does something while a client writes, and wants all that was acknowledged.
func (c *documents) during(what string, do func()) {
	c.Helper()
	client := c.ann()
	ctx, stop := context.WithCancel(c.Context())
	defer stop()
	acked, ended := 0, make(chan struct{})
	from := c.count(client)
	var longest time.Duration
	go func() {
		defer close(ended)
		for last := time.Now(); ctx.Err() == nil; service.Pause(ctx, 10*time.Millisecond) {
			once, cancel := context.WithTimeout(ctx, 5*time.Second)
			err := c.put(once, client, from+acked)
			cancel()
			if err == nil {
				acked++
				longest, last = max(longest, time.Since(last)), time.Now()
			}
		}
	}()
	do()
	stop()
	<-ended
	c.Logf("%s: %d documents, at most %s without a write", what, acked, longest.Round(time.Millisecond))
	if n := c.count(c.ann()); acked == 0 || n != from+acked && n != from+acked+1 { // the client may not have heard of its last one
		c.Errorf("%s: there are %d documents, of %d", what, n, from+acked)
	}
}

// killAll ends all servers at once and waits until their guests have them well again.
func (c *documents) killAll() {
	c.Helper()
	was := map[string]int{}
	for _, id := range c.ids {
		pid := c.stage.machine.serverPID(id)
		if pid == 0 {
			c.Fatalf("member %s has no server", id)
		}
		was[id] = pid
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			c.Fatal(err)
		}
	}
	client := c.ann()
	ctx, cancel := context.WithTimeout(c.Context(), 2*lifeTimeout)
	defer cancel()
	if err := service.AwaitSaying(ctx, func() error { return c.put(ctx, client, 0) }); err != nil {
		c.Fatal(err)
	}
	for _, id := range c.ids {
		until.True(c, lifeTimeout, "member "+id+" is well", func() bool {
			pid := c.stage.machine.serverPID(id)
			return pid != 0 && pid != was[id] && c.tenant.Want(c, http.StatusOK, http.MethodGet, gatewaytest.Instance(id), "").Text("instance", "operating_status") == "HEALTHY"
		})
	}
}

// idle waits until nothing is being done to the cluster.
func (c *documents) idle() {
	c.Helper()
	until.True(c, lifeTimeout, "the cluster is idle", func() bool {
		return c.tenant.Want(c, http.StatusOK, http.MethodGet, c.at, "").Text("cluster", "task", "name") == "NONE"
	})
}

// beginsAnew has another cluster, of one member fewer, begin with a backup of this one. It has what was there then, and no more.
func (c *documents) beginsAnew() {
	c.Helper()
	n := c.count(c.ann())
	c.backup("shop", "nightly")
	if err := c.put(c.Context(), c.ann(), n+1); err != nil {
		c.Fatal(err)
	}
	made := c.coffer("cluster", "create", "again", "--datastore", "mongodb", "--version", "8.0", "--flavor", "1", "--size", "1", "--members", "2", "--backup", "nightly")
	other := &documents{&realCluster{T: c.T, stage: c.stage, tenant: c.tenant, at: "/clusters/" + made.Text("id"), owned: map[string]bool{}}}
	c.Cleanup(func() { awaitNoCluster(c.T, c.tenant, other.at) })
	other.settle(2)
	if got := other.count(other.ann()); got != n {
		c.Errorf("the new cluster has %d documents, want %d", got, n)
	}
	if err := other.put(c.Context(), other.ann(), n+2); err != nil {
		c.Error(err)
	}
	c.coffer("backup", "delete", "nightly")
}
