package gatewaytest_test

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestRedisCluster makes a cluster of real servers in sandboxes, which speak TLS to each other, as they do by default. A client that
// knows clusters writes, it grows, and it shrinks; what was acknowledged is there after each.
func TestRedisCluster(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	body := fmt.Sprintf(`{"cluster":{"name":"ring","datastore":{"type":"redis"},"instances":[%s]}}`, strings.Join(slices.Repeat([]string{clusterMember}, 3), ","))
	made := s.member.Want(t, http.StatusOK, http.MethodPost, "/clusters", body)
	at := "/clusters/" + made.Text("cluster", "id")
	t.Cleanup(func() {
		if a := s.member.Do(t, http.MethodDelete, at, ""); a.Status != http.StatusAccepted && a.Status != http.StatusNotFound {
			t.Errorf("delete of the cluster: %d: %s", a.Status, a.Body)
		}
		until.True(t, lifeTimeout, "the cluster is gone", func() bool { return s.member.Do(t, http.MethodGet, at, "").Status == http.StatusNotFound })
	})
	password := made.Text("cluster", "password")
	s.secrets.know("root of the cluster", password)
	c := &realCluster{T: t, stage: s, at: at, password: password, owned: map[string]bool{}}
	c.settle(3)
	c.writes(0, 300)

	s.member.Want(t, http.StatusAccepted, http.MethodPost, at, `{"grow":[`+clusterMember+`]}`)
	c.settle(4)
	c.writes(300, 400)
	s.member.Want(t, http.StatusAccepted, http.MethodPost, at, fmt.Sprintf(`{"shrink":[{"id":%q}]}`, c.ids[0]))
	c.settle(3)
	c.writes(400, 500)
}

const clusterMember = `{"flavorRef":1,"volume":{"size":1}}`

// realCluster is a cluster as its client knows it.
type realCluster struct {
	*testing.T
	stage          *stage
	at, password   string
	ids, addresses []string
	owned          map[string]bool
}

// settle waits until nothing is being done to the cluster, and wants so many members, all ACTIVE.
func (c *realCluster) settle(members int) {
	c.Helper()
	var a gatewaytest.Answer
	until.True(c, 2*lifeTimeout, "the cluster has settled", func() bool {
		a = c.stage.member.Want(c, http.StatusOK, http.MethodGet, c.at, "")
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
		c.addresses = append(c.addresses, net.JoinHostPort(a.Text("cluster", "instances", i, "ip", 0), "6379"))
	}
	if len(c.ids) != members || a.At("cluster", "fault") != nil {
		c.Fatalf("the cluster has %d members, want %d: %s", len(c.ids), members, a.Body)
	}
}

// writes puts keys there, and wants all that have been put before as well. The client is one that learns now who is a member.
func (c *realCluster) writes(from, to int) {
	c.Helper()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.addresses, Password: c.password, ContextTimeoutEnabled: true})
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
