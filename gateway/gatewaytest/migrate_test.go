package gatewaytest_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestMigration brings instances with real servers to a host on another machine, while their tenants write. What was acknowledged before
// is there after; passwords, root, parameters and TLS are as they were; and the first machine has nothing of them any more.
func TestMigration(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	other := newMachine(t)
	hostID := other.enrol(t, s.url)
	p := programs(t)
	p.Run(t, "", "coffer-host", append(other.hostArgs(p, s.url), "-name", "other", "-memory", "100000", "-vcpus", "100", "-disk", "1000")...)
	s.admin.AwaitHost(t, hostID)
	for _, store := range []datastore{redisStore, mariadbStore, postgresqlStore} {
		t.Run(string(store), func(t *testing.T) { migrates(t, s, other, hostID, store) })
		t.Run(string(store)+" replica", func(t *testing.T) { replicaMigrates(t, s, other, hostID, store) })
	}
}

// replicaMigrates brings a replica to another machine while somebody writes to its source. It has everything there, follows, and takes the
// place of its source. Then it moves back, as the source: the other one takes its place, and it follows that.
func replicaMigrates(t *testing.T, s *stage, other *machine, hostID string, store datastore) {
	o := &operations{stage: s, store: store, t: t}
	s.admin.Want(t, http.StatusAccepted, http.MethodPatch, "/mgmt/hosts/"+hostID, `{"host":{"disabled":true}}`)
	_, o.id, o.login = o.make("")
	t.Cleanup(func() { s.delete(t, s.member, o.id) })
	o.write(o.login, 0, 100)
	replica, _ := s.replicaOf(t, o.id)
	other.instances = append(other.instances, replica)
	s.admin.Want(t, http.StatusAccepted, http.MethodPatch, "/mgmt/hosts/"+hostID, `{"host":{"disabled":false}}`)
	stopped, stop := context.WithCancel(t.Context())
	acknowledged := make(chan int, 1)
	go func() {
		n, _ := store.write(stopped, o.login, 100, 1<<20)
		acknowledged <- 100 + n
	}()
	s.admin.Want(t, http.StatusAccepted, http.MethodPost, "/mgmt/instances/"+replica+"/action", fmt.Sprintf(`{"migrate":{"host":%q}}`, hostID))
	moved := o.login
	moved.address = s.member.Await(t, replica, "ACTIVE", lifeTimeout).Text("instance", "ip", 0)
	stop()
	n := <-acknowledged
	after := s.admin.Want(t, 200, http.MethodGet, "/mgmt/instances/"+replica, "")
	if got := after.Text("instance", "server", "host"); got != hostID {
		t.Errorf("it is on host %s, want %s: %s", got, hostID, after.Body)
	}
	has := func(l login) {
		t.Helper()
		var numbers []int
		var err error
		if !until.Holds(lifeTimeout, func() bool {
			numbers, err = store.read(t.Context(), l)
			return err == nil && len(numbers) >= n
		}) {
			t.Errorf("%s has %d items, and %d were acknowledged (err %v)", l.address, len(numbers), n, err)
		}
		n = max(n, len(numbers))
	}
	has(moved)
	t.Logf("%s: %d items acknowledged; %s", store, n, lastEvents(t, s, replica))
	s.member.Want(t, http.StatusAccepted, http.MethodPost, gatewaytest.Instance(replica)+"/action", `{"promote_to_replica_source":{}}`)
	for _, id := range []string{o.id, replica} {
		s.member.Await(t, id, "ACTIVE", lifeTimeout)
	}
	has(moved)
	o.write(moved, n, n+5)
	n += 5
	has(o.login)

	s.admin.Want(t, http.StatusAccepted, http.MethodPost, "/mgmt/instances/"+replica+"/action", `{"migrate":{}}`) // it is the source
	for _, id := range []string{o.id, replica} {
		s.member.Await(t, id, "ACTIVE", lifeTimeout)
	}
	after = s.admin.Want(t, 200, http.MethodGet, "/mgmt/instances/"+replica, "")
	if host, of := after.Text("instance", "server", "host"), after.Text("instance", "replica_of", "id"); host == hostID || of != o.id {
		t.Errorf("the former source is on host %s, a replica of %q: %s", host, of, lastEvents(t, s, replica))
	}
	o.write(o.login, n, n+5)
	n += 5
	moved.address = after.Text("instance", "ip", 0)
	has(moved)
}

func migrates(t *testing.T, s *stage, other *machine, hostID string, store datastore) {
	o := &operations{stage: s, store: store, t: t}
	s.admin.Want(t, http.StatusAccepted, http.MethodPatch, "/mgmt/hosts/"+hostID, `{"host":{"disabled":true}}`)
	_, o.id, o.login = o.make("")
	s.admin.Want(t, http.StatusAccepted, http.MethodPatch, "/mgmt/hosts/"+hostID, `{"host":{"disabled":false}}`)
	o.write(o.login, 0, 200)
	at := gatewaytest.Instance(o.id)
	p := parametersOf[store]
	version := s.member.Want(t, 200, http.MethodGet, at, "").Text("instance", "datastore", "version")
	group := s.member.Want(t, 200, http.MethodPost, "/configurations", fmt.Sprintf(`{"configuration":{"name":"g","datastore":{"type":%q,"version":%q},"values":{%q:%s}}}`,
		store, version, p[0][0], value(p[0][1]))).Text("configuration", "id")
	s.member.Want(t, 202, http.MethodPut, at, fmt.Sprintf(`{"instance":{"configuration":%q}}`, group))
	o.wantSetting(p[0][0], p[0][1])
	s.member.Await(t, o.id, "ACTIVE", lifeTimeout)
	before := s.admin.Want(t, 200, http.MethodGet, "/mgmt/instances/"+o.id, "")
	other.instances = append(other.instances, o.id)

	written := make(chan int)
	go func() { // until the server refuses
		n, _ := store.write(t.Context(), o.login, 200, 1<<20)
		written <- 200 + n
	}()
	s.admin.Want(t, http.StatusAccepted, http.MethodPost, "/mgmt/instances/"+o.id+"/action", fmt.Sprintf(`{"migrate":{"host":%q}}`, hostID))
	acknowledged := <-written
	s.member.Await(t, o.id, "ACTIVE", lifeTimeout)
	after := s.admin.Want(t, 200, http.MethodGet, "/mgmt/instances/"+o.id, "")
	moved := o.login
	moved.address = after.Text("instance", "ip", 0)
	var numbers []int
	var err error
	until.True(t, lifeTimeout, "clients are let in", func() bool {
		numbers, err = store.read(t.Context(), moved)
		return err == nil
	})
	if err != nil || len(numbers) < acknowledged || !slices.IsSorted(numbers) {
		t.Errorf("%d items were acknowledged, and %d are there (err %v)", acknowledged, len(numbers), err)
	}
	t.Logf("%s: %d items acknowledged, %d there; %s", store, acknowledged, len(numbers), lastEvents(t, s, o.id))
	o.login = moved
	o.wantSetting(p[0][0], p[0][1])
	for _, key := range [][]any{{"instance", "root_enabled"}, {"instance", "configuration", "id"}, {"instance", "flavor", "id"}} {
		if was, is := before.At(key...), after.At(key...); was != is {
			t.Errorf("%v was %v and is %v", key, was, is)
		}
	}
	if got := after.Text("instance", "server", "host"); got != hostID {
		t.Errorf("it is on host %s, want %s", got, hostID)
	}
	o.write(moved, len(numbers), len(numbers)+5)
	s.member.Want(t, 202, http.MethodPost, at+"/action", `{"restart":{}}`)
	s.member.Await(t, o.id, "ACTIVE", lifeTimeout)
	o.wantItems("after a restart", moved, len(numbers)+5)
	until.True(t, lifeTimeout, "the first host has removed it", func() bool {
		hosts := string(s.admin.Want(t, 200, http.MethodGet, "/mgmt/hosts", "").Body)
		return strings.Count(hosts, o.id) == 1
	})
	s.member.Want(t, 202, http.MethodPut, at, `{"instance":{}}`)
	s.delete(t, s.member, o.id)
	s.member.Want(t, 202, http.MethodDelete, "/configurations/"+group, "")
}

// lastEvents are the steps of an instance's timeline.
func lastEvents(t *testing.T, s *stage, id string) string {
	events := s.member.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/events?limit=100", "")
	var all []string
	for n := 0; events.At("events", n) != nil; n++ {
		if kind := events.Text("events", n, "kind"); kind == "step" || kind == "done" || kind == "fault" {
			all = append(all, events.Text("events", n, "at")+" "+events.Text("events", n, "message"))
		}
	}
	return strings.Join(all, "\n")
}
