package gatewaytest_test

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// testUpgrade brings a server with data to the next version, through the API: Debian 12's to Debian 13's, which is in an
// image.
func testUpgrade(t *testing.T, s *stage) {
	datastoretest.Require(t, filepath.Join(imageDir(), "debian-13"), "the image debian-13: task image")
	for _, c := range []struct {
		name     datastore // of the variant
		store    datastore
		from, to string
		version  string // how the newer server begins to tell its version
	}{
		{"opt-mariadb", mariadbStore, "mariadb/10.11", "mariadb/11.8", "11.8"},
		{"opt-postgresql", postgresqlStore, "postgresql/15", "postgresql/17", "17"},
	} {
		t.Run(c.to, func(t *testing.T) {
			v := s.newVariant(t, string(c.name), c.from)
			newer := s.newVariant(t, string(c.name)+"-next", c.to)
			newer.server["image"] = "debian-13"
			for _, half := range []string{"server", "guest"} {
				key := "/" + half + "/datastores/" + string(c.name) + "/2"
				t.Cleanup(func() { s.etcdctl(t, "", "del", key) })
			}
			newer.putAs(t, string(c.name)+"/2")
			s.etcdctl(t, `{"default_version":"1"}`, "put", "/server/datastores/"+string(c.name))
			t.Cleanup(func() { s.etcdctl(t, "", "del", "/server/datastores/"+string(c.name)) })

			_, id, address := s.create(t, v.name, c.store.tenantPart())
			l := c.store.login(address, "")
			if n, err := c.store.write(t.Context(), l, 0, 100); n != 100 {
				t.Fatal(err)
			}
			at := gatewaytest.Instance(id)
			s.member.Want(t, http.StatusBadRequest, http.MethodPatch, at, `{"instance":{"datastore_version":"3"}}`)
			s.member.Want(t, http.StatusAccepted, http.MethodPatch, at, `{"instance":{"datastore_version":"2"}}`)
			a := s.member.Await(t, id, "ACTIVE", lifeTimeout)
			if got := a.Text("instance", "datastore", "version"); got != "2" {
				t.Errorf("the instance has version %q, want 2", got)
			}
			if numbers, err := c.store.read(t.Context(), l); err != nil || len(numbers) != 100 {
				t.Errorf("%d items after the upgrade, want 100 (err %v)", len(numbers), err)
			}
			name := map[datastore]string{mariadbStore: "version", postgresqlStore: "server_version"}[c.store]
			if got, err := c.store.setting(t.Context(), l, name); err != nil || len(got) < len(c.version) || got[:len(c.version)] != c.version {
				t.Errorf("the server is %q, want %s (err %v)", got, c.version, err)
			}
			// Back it does not go, and it runs on.
			s.member.Want(t, http.StatusAccepted, http.MethodPut, at, `{"instance":{"datastore_version":"1"}}`)
			until.True(t, lifeTimeout, "the downgrade is refused", func() bool {
				in := s.member.Want(t, http.StatusOK, http.MethodGet, at, "")
				return in.Text("instance", "status") == "ACTIVE" && in.At("instance", "fault") != nil
			})
			if n, err := c.store.write(t.Context(), l, 100, 105); n != 5 {
				t.Errorf("after a downgrade that was refused: %v", err)
			}
		})
	}
}
