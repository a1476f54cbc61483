package gatewaytest_test

import (
	"strings"
	"testing"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// testOpenstackOperations makes backups, groups and replicas as a person does, with Debian's openstack command and troveclient.
func testOpenstackOperations(t *testing.T, s *stage) {
	datastoretest.Require(t, openstackProgram, "python3-openstackclient")
	c := s.shell(t, "alice", s.password, "shop")
	tenant := gatewaytest.Client{URL: s.url, Token: s.login(t, "alice", s.password, "shop").Token(), Project: s.shop}
	make := func(command string) string {
		id := c.run("database instance create " + command + " -f json").Text("id")
		s.owns(id)
		t.Cleanup(func() { s.delete(t, tenant, id) })
		return id
	}
	source := make("cache --flavor 1 --size 1 --datastore redis --datastore-version 7.0")
	tenant.Await(t, source, "ACTIVE", lifeTimeout)

	backup := c.run("database backup create monday --instance cache --description first -f json").says("status", "NEW").says("datastore", "redis").Text("id")
	s.awaitBackupOf(t, tenant, backup)
	c.run("database backup list -f value").prints("monday", "COMPLETED")
	c.run("database backup show monday -f json").says("status", "COMPLETED").says("description", "first")
	tenant.Await(t, make("copy --flavor 1 --size 1 --datastore redis --datastore-version 7.0 --backup monday"), "ACTIVE", lifeTimeout)

	c.run(`database configuration create small {"maxclients":77} --datastore redis --datastore-version 7.0`)
	c.run("database configuration show small -f json").says("name", "small").says("datastore_name", "redis")
	c.run("database configuration attach cache small")
	c.run("database configuration instances small -f value").prints("cache")
	group := c.run("database configuration list -f json").row("Name", "small")["ID"].(string)
	c.run(`database configuration parameter set ` + group + ` {"maxclients":78}`)
	c.run("database configuration parameter list 7.0 --datastore redis -f value").prints("maxclients")
	c.run("database configuration detach cache")
	c.run("database configuration delete small")

	replica := make("follower --replica-of cache")
	tenant.Await(t, replica, "ACTIVE", lifeTimeout)
	tenant.Await(t, source, "ACTIVE", lifeTimeout)
	c.run("database instance promote follower")
	tenant.Await(t, replica, "ACTIVE", lifeTimeout)
	tenant.Await(t, source, "ACTIVE", lifeTimeout)
	if shown := c.run("database instance show cache -f json"); !strings.Contains(shown.text, replica) {
		t.Errorf("the old source does not say whom it follows:\n%s", shown.text)
	}
	c.run("database instance detach cache")
	tenant.Await(t, source, "ACTIVE", lifeTimeout)

	c.run("database instance resize volume cache 2")
	tenant.Await(t, source, "ACTIVE", lifeTimeout)
	c.run("database instance resize flavor cache 2")
	tenant.Await(t, source, "ACTIVE", lifeTimeout)
	c.run("database instance show cache -f json").says("volume", 2.0).says("flavor", "2")
	c.run("database log list cache -f value").prints("redis", "SYS")
	c.run("database log show cache redis -f json").says("name", "redis").says("type", "SYS").says("status", "Ready")
	c.run("database log set cache redis --publish -f json").says("status", "Published")
	c.run("database log show cache redis -f json").says("status", "Published")
	c.run("database backup delete monday")
}

// awaitBackupOf waits until a backup is complete.
func (s *stage) awaitBackupOf(t *testing.T, c gatewaytest.Client, id string) {
	t.Helper()
	until.True(t, lifeTimeout, "backup "+id+" COMPLETED", func() bool {
		return c.Do(t, "GET", "/backups/"+id, "").Text("backup", "status") == "COMPLETED"
	})
}
