package gateway_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// clusterHosts starts n hosts whose servers in memory reach each other.
func clusterHosts(t *testing.T, n int, options ...gatewaytest.Option) (*gatewaytest.Gateway, []*gatewaytest.Host) {
	t.Helper()
	_, g, first := start(t, options...)
	hosts := []*gatewaytest.Host{first}
	for i := 1; i < n; i++ {
		h := gatewaytest.StartHostSaying(t, func(a *deployments.Announcement) {
			a.Machine.Pool = gatewaytest.Pool(fmt.Sprintf("127.%d.0.0/16", 98-i))
		}, g)
		h.Memory = first.Memory
		hosts = append(hosts, h)
	}
	return g, hosts
}

const clusterMember = `{"flavorRef":1,"volume":{"size":1}}`

func clusterBody(name string, members int, more string) string {
	return fmt.Sprintf(`{"cluster":{"name":%q,"datastore":{"type":"memory"},"instances":[%s]%s}}`,
		name, strings.TrimSuffix(strings.Repeat(clusterMember+",", members), ","), more)
}

// awaitCluster waits until nothing is being done to a cluster.
func awaitCluster(t *testing.T, c gatewaytest.Client, id string) (a gatewaytest.Answer) {
	t.Helper()
	waitFor(t, func() bool {
		a = c.Want(t, 200, http.MethodGet, "/clusters/"+id, "")
		return a.Text("cluster", "task", "name") == "NONE"
	})
	return a
}

func membersOf(a gatewaytest.Answer) (ids []string) {
	for i := 0; a.At("cluster", "instances", i) != nil; i++ {
		ids = append(ids, a.Text("cluster", "instances", i, "id"))
	}
	return ids
}

func wantActive(t *testing.T, a gatewaytest.Answer, members int) []string {
	t.Helper()
	ids := membersOf(a)
	for i := range ids {
		if got := a.Text("cluster", "instances", i, "status"); got != "ACTIVE" {
			t.Errorf("member %d is %s", i, got)
		}
	}
	if len(ids) != members || a.At("cluster", "fault") != nil {
		t.Fatalf("the cluster has %d members, want %d: %s", len(ids), members, a.Body)
	}
	return ids
}

// TestClusterLife: members on hosts of their own are made, more come and some go, all are restarted, and the cluster is deleted whole.
func TestClusterLife(t *testing.T) {
	g, hosts := clusterHosts(t, 3)
	c := g.Client(gatewaytest.Member)
	a := c.Want(t, 200, http.MethodPost, "/clusters", clusterBody("ring", 3, ""))
	if got := a.Text("cluster", "task", "name"); got != "BUILDING" {
		t.Errorf("task %q", got)
	}
	id := a.Text("cluster", "id")
	at := "/clusters/" + id
	made := awaitCluster(t, c, id)
	ids := wantActive(t, made, 3)
	if got := made.Text("cluster", "connections", "members"); strings.Count(got, ":1") != 3 || made.At("cluster", "connections", "primary") != nil {
		t.Errorf("clients connect to %s: a cluster has members, and no source", made.Body)
	}
	for _, h := range hosts {
		there := 0
		for _, m := range ids {
			if h.Launched(m).InstanceID == m {
				there++
				if got := h.Launched(m).Firewall.Peers; len(got) != 2 {
					t.Errorf("member %s lets through %v, want the two others", m, got)
				}
			}
		}
		if there != 1 {
			t.Errorf("a host has %d members, want 1", there)
		}
	}
	if a := c.Want(t, 200, http.MethodGet, "/instances", ""); a.At("instances", 0) != nil {
		t.Errorf("members are listed: %s", a.Body)
	}
	if got := c.Want(t, 200, http.MethodGet, "/instances?include_clustered=true", "").Text("instances", 2, "cluster_id"); got != id {
		t.Errorf("cluster_id %q", got)
	}
	if got := c.Want(t, 200, http.MethodGet, "/clusters", "").Text("clusters", 0, "name"); got != "ring" {
		t.Errorf("list: %q", got)
	}
	c.Want(t, 200, http.MethodGet, at+"/instances/"+ids[1], "")
	for _, refused := range []struct{ method, path, body string }{
		{http.MethodDelete, "", ""}, {http.MethodPost, "/action", `{"restart":{}}`}, {http.MethodPost, "/action", `{"resize":{"volume":{"size":2}}}`},
	} {
		a := c.Want(t, 501, refused.method, gatewaytest.Instance(ids[0])+refused.path, refused.body)
		if !strings.Contains(string(a.Body), id) {
			t.Errorf("the refusal names no cluster: %s", a.Body)
		}
	}
	c.Want(t, 501, http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"b","instance":%q}}`, ids[0]))
	c.Want(t, 501, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"r","replica_of":%q}}`, ids[0]))

	c.Want(t, 202, http.MethodPost, at, `{"grow":[`+clusterMember+`,`+clusterMember+`]}`)
	c.Want(t, 422, http.MethodPost, at, `{"restart":{}}`)
	c.Want(t, 422, http.MethodDelete, at, "")
	ids = wantActive(t, awaitCluster(t, c, id), 5)
	c.Want(t, 202, http.MethodPost, at, `{"restart":{}}`)
	wantActive(t, awaitCluster(t, c, id), 5)
	c.Want(t, 400, http.MethodPost, at, `{"upgrade":{}}`)
	c.Want(t, 400, http.MethodPost, at, `{"upgrade":{"datastore_version":"none"}}`)
	was := c.Want(t, 200, http.MethodGet, at, "").Text("cluster", "datastore", "version")
	if a := c.Want(t, 202, http.MethodPost, at, `{"upgrade":{"datastore_version":"2"}}`); a.Text("cluster", "task", "name") != "UPGRADING_CLUSTER" {
		t.Errorf("upgrade: %s", a.Body)
	}
	a = awaitCluster(t, c, id)
	wantActive(t, a, 5)
	if got := a.Text("cluster", "datastore", "version"); got != "2" || got == was {
		t.Errorf("the cluster had version %s and has %s", was, got)
	}
	for _, m := range ids {
		if got := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(m), "").Text("instance", "datastore", "version"); got != "2" {
			t.Errorf("member %s has version %s", m, got)
		}
	}
	c.Want(t, 202, http.MethodPost, at, `{"upgrade":{"datastore_version":"2"}}`)
	awaitCluster(t, c, id)
	c.Want(t, 202, http.MethodPost, at, fmt.Sprintf(`{"shrink":[{"id":%q},{"id":%q}]}`, ids[0], ids[4]))
	left := wantActive(t, awaitCluster(t, c, id), 3)
	c.AwaitGone(t, ids[0], soon)
	if left[0] != ids[1] {
		t.Errorf("members %v are left of %v", left, ids)
	}
	c.Want(t, 422, http.MethodPost, at, fmt.Sprintf(`{"shrink":[{"id":%q},{"id":%q}]}`, left[0], left[1]))
	c.Want(t, 400, http.MethodPost, at, fmt.Sprintf(`{"shrink":[{"id":%q}]}`, ids[0]))
	c.Want(t, 400, http.MethodPost, at, `{"add_shard":{}}`)

	c.Want(t, 202, http.MethodDelete, at, "")
	waitFor(t, func() bool { return c.Do(t, http.MethodGet, at, "").Status == 404 })
	if a := c.Want(t, 200, http.MethodGet, "/instances?include_clustered=true", ""); a.At("instances", 0) != nil {
		t.Errorf("members are left: %s", a.Body)
	}
	c.Want(t, 404, http.MethodDelete, at, "")
}

// TestClusterQuota: what is too much for the project is refused whole.
func TestClusterQuota(t *testing.T) {
	g, _ := clusterHosts(t, 1)
	c := g.Client(gatewaytest.Member)
	g.Client(gatewaytest.Admin).Want(t, 200, http.MethodPut, "/mgmt/quotas/"+gatewaytest.Project, `{"quotas":{"instances":2}}`)
	c.Want(t, 413, http.MethodPost, "/clusters", clusterBody("ring", 3, ""))
	if a := c.Want(t, 200, http.MethodGet, "/instances?include_clustered=true", ""); a.At("instances", 0) != nil {
		t.Errorf("members are left: %s", a.Body)
	}
	c.Want(t, 422, http.MethodPost, "/clusters", clusterBody("ring", 2, `,"locality":"anti-affinity"`))
	a := c.Want(t, 200, http.MethodPost, "/clusters", clusterBody("ring", 2, ""))
	wantActive(t, awaitCluster(t, c, a.Text("cluster", "id")), 2)
}

// TestClusterThatFails: the fault says which member, and what was begun can be gone on with.
func TestClusterThatFails(t *testing.T) {
	g, hosts := clusterHosts(t, 2)
	c := g.Client(gatewaytest.Member)
	a := c.Want(t, 200, http.MethodPost, "/clusters", clusterBody("ring", 2, ""))
	id := a.Text("cluster", "id")
	at := "/clusters/" + id
	ids := wantActive(t, awaitCluster(t, c, id), 2)
	memory := hosts[0].Memory
	first := c.Want(t, 200, http.MethodGet, gatewaytest.Instance(ids[0]), "").Text("instance", "ip", 0)
	memory.Fail(first, "cluster_complete", errors.New("no luck"))
	c.Want(t, 202, http.MethodPost, at, `{"grow":[`+clusterMember+`]}`)
	a = awaitCluster(t, c, id)
	if got := a.Text("cluster", "fault", "message"); !strings.Contains(got, ids[0]) || !strings.Contains(got, "no luck") {
		t.Errorf("fault %q", got)
	}
	memory.Fail(first, "cluster_complete", nil)
	c.Want(t, 422, http.MethodPost, at, `{"grow":[`+clusterMember+`]}`)
	c.Want(t, 202, http.MethodPost, at, `{"mend":{}}`)
	ids = wantActive(t, awaitCluster(t, c, id), 3)

	memory.Fail(first, "stop_db", errors.New("no luck"))
	c.Want(t, 202, http.MethodPost, at, `{"restart":{}}`)
	if got := awaitCluster(t, c, id).Text("cluster", "fault", "message"); !strings.Contains(got, ids[0]) {
		t.Errorf("fault %q", got)
	}
	memory.Fail(first, "stop_db", nil)
	c.Want(t, 202, http.MethodPost, at, `{"restart":{}}`)
	wantActive(t, awaitCluster(t, c, id), 3)

	c.Want(t, 401, http.MethodPost, at, `{"reset-status":{}}`)
	c.Want(t, 202, http.MethodPost, at, `{"reset-status":{"force_delete":true}}`)
	waitFor(t, func() bool { return c.Do(t, http.MethodGet, at, "").Status == 404 })
}

// TestClusterThatLosesAMember: a member that cannot be asked any more is taken away without it, and another one takes its place in its shard.
// Its host is away, too, and removes it when it is back: nobody waits for that.
func TestClusterThatLosesAMember(t *testing.T) {
	g, hosts := clusterHosts(t, 2, impatient)
	c := g.Client(gatewaytest.Member)
	a := c.Want(t, 200, http.MethodPost, "/clusters", clusterBody("ring", 4, `,"extended_properties":{"replicas":1}`))
	id := a.Text("cluster", "id")
	at := "/clusters/" + id
	ids := wantActive(t, awaitCluster(t, c, id), 4)
	shrink := fmt.Sprintf(`{"shrink":[{"id":%q,"lost":true}]}`, ids[3])
	if a := c.Want(t, 409, http.MethodPost, at, shrink); !strings.Contains(string(a.Body), "is connected") {
		t.Errorf("of a member that is there: %s", a.Body)
	}
	c.Want(t, 400, http.MethodPost, at, `{"grow":[`+clusterMember+`]}`) // no shard lacks one
	for _, h := range hosts {
		h.CannotRemove(ids[3], errors.New("the disk is gone"))
		h.StopGuest(ids[3])
	}
	waitFor(t, isShown(t, g, ids[3], "ERROR"))
	c.Want(t, 503, http.MethodPost, at, `{"restart":{}}`)
	c.Want(t, 202, http.MethodPost, at, shrink)
	a = awaitCluster(t, c, id)
	if left := membersOf(a); len(left) != 4 || a.At("cluster", "fault") != nil {
		t.Errorf("after the shrink: %s", a.Body)
	}
	shard := a.Text("cluster", "instances", 3, "shard_id")
	c.Want(t, 202, http.MethodPost, at, `{"restart":{}}`)
	awaitCluster(t, c, id)
	c.Want(t, 202, http.MethodPost, at, `{"grow":[`+clusterMember+`]}`)
	if a = awaitCluster(t, c, id); a.Text("cluster", "instances", 4, "shard_id") != shard || a.Text("cluster", "instances", 4, "status") != "ACTIVE" {
		t.Errorf("the new member is not in shard %s: %s", shard, a.Body)
	}
	c.Want(t, 202, http.MethodDelete, at, "")
	for _, m := range membersOf(a) {
		if m != ids[3] {
			c.AwaitGone(t, m, soon)
		}
	}
	if a = awaitCluster(t, c, id); len(membersOf(a)) != 1 || !strings.Contains(string(c.Want(t, 200, http.MethodGet, gatewaytest.Instance(ids[3]), "").Body), "will be asked again") {
		t.Errorf("what its host could not remove yet: %s", a.Body)
	}
}
