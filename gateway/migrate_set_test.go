package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// startSetMigration makes a source with a replica, which is to move, on the first of two hosts. They have addresses of their own, and their
// servers know each other.
func startSetMigration(t *testing.T) (m *migration, source string) {
	m = startMigrationTo(t, "127.98.0.0/16")
	m.second.Memory = m.first.Memory
	m.admin.Want(t, 202, http.MethodPatch, "/mgmt/hosts/"+m.second.ID, `{"host":{"disabled":true}}`)
	source = m.id
	m.id = m.c.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"r","replica_of":%q}}`, source)).Text("instance", "id")
	m.address = m.c.Await(t, m.id, "ACTIVE", soon).Text("instance", "ip", 0)
	m.admin.Want(t, 202, http.MethodPatch, "/mgmt/hosts/"+m.second.ID, `{"host":{"disabled":false}}`)
	return m, source
}

// follows holds the replica against what it was before: it follows its source, which lets it in.
func (m *migration) follows(source, where string) {
	m.Helper()
	waitFor(m.T, func() bool { return m.has() == where })
	a := m.c.Want(m, 200, http.MethodGet, gatewaytest.Instance(m.id), "")
	if got := a.Text("instance", "replica_of", "id"); got != source {
		m.Errorf("it is a replica of %q", got)
	}
	m.c.Want(m, 202, http.MethodPost, gatewaytest.Instance(source)+"/databases", `{"databases":[{"name":"since"}]}`)
	waitFor(m.T, func() bool {
		return strings.Contains(string(m.c.Want(m, 200, http.MethodGet, gatewaytest.Instance(m.id)+"/databases", "").Body), `"since"`)
	})
	m.c.Want(m, 202, http.MethodDelete, gatewaytest.Instance(source)+"/databases/since", "")
	if peers := m.first.Launched(source).Firewall.Peers; !slices.Equal(peers, []string{a.Text("instance", "ip", 0)}) {
		m.Errorf("the source lets %v in, and its replica is at %s", peers, a.Text("instance", "ip", 0))
	}
	if left := m.c.Want(m, 200, http.MethodGet, "/backups", ""); left.At("backups", 0) != nil {
		m.Errorf("a copy is left: %s", left.Body)
	}
}

// TestMigrateReplica brings a replica to another host and back again, made anew from its source, by a backup and without. Then it takes the
// place of its source.
func TestMigrateReplica(t *testing.T) {
	for _, byBackup := range []bool{false, true} {
		t.Run(fmt.Sprintf("by backup %v", byBackup), func(t *testing.T) {
			m, source := startSetMigration(t)
			m.first.Memory.ReplicaBackup = byBackup
			m.ask("")
			if got := m.c.Want(t, 200, http.MethodGet, gatewaytest.Instance(m.id), "").Text("instance", "status"); got != "MIGRATING" {
				t.Errorf("meanwhile its status is %s", got)
			}
			if a := m.c.Await(t, m.id, "ACTIVE", soon); !strings.HasPrefix(a.Text("instance", "ip", 0), "127.98.") {
				t.Errorf("it is at %s", a.Text("instance", "ip", 0))
			}
			m.follows(source, "second")
			m.ask(fmt.Sprintf(`"host":%q`, m.first.ID))
			m.c.Await(t, m.id, "ACTIVE", soon)
			m.follows(source, "first")
			m.c.Want(t, 202, http.MethodPost, gatewaytest.Instance(m.id)+"/action", `{"promote_to_replica_source":{}}`)
			m.c.Await(t, source, "ACTIVE", soon)
			m.c.Await(t, m.id, "ACTIVE", soon)
		})
	}
}

// TestMigrateReplicaFails: whatever goes wrong leads back to where the replica was, which follows again with what it has.
func TestMigrateReplicaFails(t *testing.T) {
	for step, spoil := range map[string]func(m *migration, source string) (mend func()){
		"stop_db": func(m *migration, _ string) func() {
			m.first.Memory.Fail(m.address, "stop_db", fmt.Errorf("it does not like it"))
			return func() {}
		},
		"launch": func(m *migration, _ string) func() {
			m.second.CannotLaunch(fmt.Errorf("it does not like it"))
			return func() {}
		},
		"get_replication_snapshot": func(m *migration, source string) func() {
			at := m.c.Want(m, 200, http.MethodGet, gatewaytest.Instance(source), "").Text("instance", "ip", 0)
			m.first.Memory.Fail(at, "get_replication_snapshot", fmt.Errorf("it does not like it"))
			return func() { m.first.Memory.Fail(at, "get_replication_snapshot", nil) }
		},
	} {
		t.Run(step, func(t *testing.T) {
			m, source := startSetMigration(t)
			mend := spoil(m, source)
			goOn := m.first.Memory.Hold(m.address, "start_db")
			m.ask("")
			waitFor(t, func() bool { return !slices.Contains([]string{"stop", "launch", "enrol", "snapshot"}, m.step()) })
			mend()
			goOn()
			m.first.StopGuest(m.id) // it may have been refused meanwhile, and would ask again after a while
			m.first.StartGuest(t, m.id)
			a := m.c.Await(t, m.id, "ACTIVE", soon)
			if got := a.Text("instance", "fault", "message"); !strings.Contains(got, "the instance is where it was, and follows its source: ") || !strings.Contains(got, "it does not like it") {
				t.Errorf("its fault: %q", got)
			}
			m.follows(source, "first")
		})
	}
}

// TestMigrateSource has a replica take the place of a source that moves, as a replica of that. Asked for again it moves as any other.
func TestMigrateSource(t *testing.T) {
	m, source := startSetMigration(t)
	m.admin.Want(t, 202, http.MethodPost, "/mgmt/instances/"+source+"/action", `{"migrate":{}}`)
	if got := m.c.Want(t, 200, http.MethodGet, gatewaytest.Instance(source), "").Text("instance", "status"); got != "MIGRATING" && got != "PROMOTE" {
		t.Errorf("meanwhile its status is %s", got)
	}
	m.c.Await(t, source, "ACTIVE", soon)
	m.c.Await(t, m.id, "ACTIVE", soon)
	replica := m.id
	m.id = source
	m.follows(replica, "second")
}

// TestMigrateSourceFails: a source whose replica cannot take its place stays where and what it is, and nothing is left on the other host.
func TestMigrateSourceFails(t *testing.T) {
	m, source := startSetMigration(t)
	m.first.Memory.Fail(m.address, "enable_as_master", fmt.Errorf("it does not like it"))
	m.admin.Want(t, 202, http.MethodPost, "/mgmt/instances/"+source+"/action", `{"migrate":{}}`)
	waitFor(t, func() bool {
		return strings.Contains(m.c.Want(t, 200, http.MethodGet, gatewaytest.Instance(source), "").Text("instance", "fault", "message"), "the instance is where it was")
	})
	m.follows(source, "first")
	m.id = source
	waitFor(t, func() bool { return m.has() == "first" })
}
