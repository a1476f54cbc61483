package gatewaytest_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// testUpgrade brings a server with data to the next version, through the API: Debian 12's to Debian 13's, which is in an image, and where one
// version is the same in both, to its definition in another image. Where a newer replica follows an older source there is one, and
// somebody writes meanwhile: the whole set is upgraded, and nothing acknowledged is missing.
func testUpgrade(t *testing.T, s *stage) {
	datastoretest.Require(t, filepath.Join(imageDir(), "debian-13"), "the image debian-13: task image")
	for _, c := range []struct {
		name     datastore // of the variant
		store    datastore
		from, to string
		version  string // how the newer server begins to tell its version
		replicas int
	}{
		{"opt-mariadb", mariadbStore, "mariadb/10.11", "mariadb/11.8", "11.8", 1},
		{"opt-postgresql", postgresqlStore, "postgresql/15", "postgresql/17", "17", 0},
		{"opt-minor", postgresqlStore, "postgresql/15", "postgresql/15", "15", 1},
		{"opt-redis", redisStore, "redis/7.0", "valkey/8.1", "8.1", 2},
	} {
		t.Run(string(c.name), func(t *testing.T) {
			v := s.newVariant(t, string(c.name), c.from)
			newer := s.newVariant(t, string(c.name)+"-next", c.to)
			newer.server["image"], newer.guest["mount_point"] = "debian-13", v.guest["mount_point"]
			for _, half := range []string{"server", "guest"} {
				key := "/" + half + "/datastores/" + string(c.name) + "/2"
				t.Cleanup(func() { s.etcdctl(t, "", "del", key) })
			}
			newer.putAs(t, string(c.name)+"/2")
			s.etcdctl(t, `{"default_version":"1"}`, "put", "/server/datastores/"+string(c.name))
			t.Cleanup(func() { s.etcdctl(t, "", "del", "/server/datastores/"+string(c.name)) })

			created, id, address := s.create(t, v.name, c.store.tenantPart())
			l := c.store.login(address, created.Text("instance", "password"))
			if n, err := c.store.write(t.Context(), l, 0, 100); n != 100 {
				t.Fatal(err)
			}
			at := gatewaytest.Instance(id)
			s.member.Want(t, http.StatusBadRequest, http.MethodPatch, at, `{"instance":{"datastore_version":"3"}}`)
			written := 100
			ids, logins := []string{id}, []login{l}
			for range c.replicas {
				replica, address := s.replicaOf(t, id)
				copied := l
				copied.address = address
				ids, logins = append(ids, replica), append(logins, copied)
			}
			acknowledged := make(chan int, 1)
			go func() { // until the source is stopped for its own upgrade
				n := 0
				for err := error(nil); err == nil && c.replicas > 0; until.Passed(10 * time.Millisecond) {
					var more int
					more, err = c.store.write(t.Context(), l, written+n, written+n+20)
					n += more
				}
				acknowledged <- n
			}()
			s.member.Want(t, http.StatusAccepted, http.MethodPatch, at, `{"instance":{"datastore_version":"2"}}`)
			for _, one := range ids {
				a := s.member.Await(t, one, "ACTIVE", lifeTimeout)
				if got := a.Text("instance", "datastore", "version"); got != "2" {
					t.Errorf("%s has version %q, want 2: %s", one, got, a.Body)
				}
			}
			written += <-acknowledged
			numbers, err := c.store.read(t.Context(), l)
			if err != nil || len(numbers) < written {
				t.Errorf("%d items after the upgrade, %d were acknowledged (err %v)", len(numbers), written, err)
			}
			written = len(numbers) // one may have been taken whose answer was lost
			t.Logf("%d items were written meanwhile", written-100)
			name := map[datastore]string{mariadbStore: "version", postgresqlStore: "server_version", redisStore: "valkey_version"}[c.store]
			if got, err := c.store.setting(t.Context(), l, name); err != nil || len(got) < len(c.version) || got[:len(c.version)] != c.version {
				t.Errorf("the server is %q, want %s (err %v)", got, c.version, err)
			}
			if c.from != c.to { // back it does not go, and it runs on
				s.member.Want(t, http.StatusAccepted, http.MethodPut, at, `{"instance":{"datastore_version":"1"}}`)
				until.True(t, lifeTimeout, "the downgrade is refused", func() bool {
					in := s.member.Want(t, http.StatusOK, http.MethodGet, at, "")
					return in.Text("instance", "status") == "ACTIVE" && in.At("instance", "fault") != nil
				})
			}
			if n, err := c.store.write(t.Context(), l, written, written+5); n != 5 {
				t.Errorf("after a downgrade that was refused: %v", err)
			}
			for _, l := range logins {
				var numbers []int
				if !until.Holds(lifeTimeout, func() bool {
					numbers, err = c.store.read(t.Context(), l)
					return err == nil && len(numbers) == written+5
				}) {
					t.Errorf("%s has %d items, want %d (err %v)", l.address, len(numbers), written+5, err)
				}
			}
		})
	}
}

// replicaOf makes a replica. It is deleted with the test, before its source.
func (s *stage) replicaOf(t *testing.T, source string) (id, address string) {
	t.Helper()
	id = s.member.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"replica","replica_of":%q}}`, source)).Text("instance", "id")
	s.owns(id)
	t.Cleanup(func() { s.delete(t, s.member, id) })
	address = s.member.Await(t, id, "ACTIVE", lifeTimeout).Text("instance", "ip", 0)
	s.member.Await(t, source, "ACTIVE", lifeTimeout)
	return id, address
}
