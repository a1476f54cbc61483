package etcdschema_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
)

const (
	serverKey = "/server/datastores/redis/7.0"
	guestKey  = "/guest/datastores/redis/7.0"
)

func catalogue(t *testing.T, s *etcdschema.Store) etcdschema.Catalogue {
	t.Helper()
	c, err := s.Catalogue(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCatalogueOffersWholePairsOnly(t *testing.T) {
	srv := etcdtest.Start(t)
	s := srv.Store(t)
	srv.Put(t, serverKey, goodServer)
	c := catalogue(t, s)
	if len(c.Datastores) != 0 || len(c.Problems) != 1 || c.Problems[0].Key != guestKey {
		t.Fatalf("one half alone: %+v", c)
	}
	srv.Put(t, guestKey, goodGuest)
	c = catalogue(t, s)
	if len(c.Datastores) != 1 || len(c.Problems) != 0 || c.Datastores[0].Datastore.DefaultVersion != "7.0" {
		t.Fatalf("both halves, and no record of the datastore: %+v", c)
	}
	srv.Put(t, "/server/datastores/redis", "default_version: '8.0'\nactive: false")
	srv.Put(t, "/server/datastores/Redis/7.0", goodServer)
	c = catalogue(t, s)
	if len(c.Problems) != 2 || c.Problems[1].Path != "default_version" || c.Datastores[0].Datastore.Offered() {
		t.Errorf("a default that is not offered, and a bad name: %+v", c)
	}
	srv.Delete(t, guestKey)
	if _, offered := catalogue(t, s).FindVersion("redis", "7.0"); offered {
		t.Error("offered still, though a half was withdrawn")
	}
}

// TestInactiveDefaultGivesWay: a default version that is made inactive gives way to the newest active one, and operators are told; it is
// the default again when it is active again.
func TestInactiveDefaultGivesWay(t *testing.T) {
	srv := etcdtest.Start(t)
	s := srv.Store(t)
	for _, version := range []string{"7.0", "8.0", "9.0"} {
		srv.Put(t, "/server/datastores/redis/"+version, goodServer)
		srv.Put(t, "/guest/datastores/redis/"+version, goodGuest)
	}
	srv.Put(t, "/server/datastores/redis", "default_version: '8.0'")
	set := func(version string, active bool) {
		srv.Put(t, "/server/datastores/redis/"+version, strings.Replace(goodServer, "{", fmt.Sprintf(`{"active":%t,`, active), 1))
	}
	set("9.0", false)
	for _, c := range []struct {
		active   bool
		want     string
		problems string
	}{
		{true, "8.0", "[]"},
		{false, "7.0", `[/server/datastores/redis: default_version: "8.0" is not active; offered are: 7.0]`},
		{true, "8.0", "[]"},
	} {
		set("8.0", c.active)
		got := catalogue(t, s)
		if d := got.Datastores[0].Datastore.DefaultVersion; d != c.want || fmt.Sprint(got.Problems) != c.problems {
			t.Errorf("active %t: the default is %q, problems %v; want %q, %s", c.active, d, got.Problems, c.want, c.problems)
		}
	}
}

func TestCatalogueKeepsTheLastGoodRevision(t *testing.T) {
	srv := etcdtest.Start(t)
	s := srv.Store(t)
	srv.Put(t, serverKey, goodServer)
	srv.Put(t, guestKey, goodGuest)
	bad := srv.Put(t, serverKey, `{"manager":"redis","tcp_ports":[0],"colour":1}`)
	worse := srv.Put(t, guestKey, `nonsense`)
	c := catalogue(t, s)
	v, offered := c.FindVersion("redis", "7.0")
	if !offered || len(v.Server.TCPPorts) != 2 || v.StaleSince != bad {
		t.Errorf("version %+v, offered %v; want the one before revision %d", v, offered, bad)
	}
	if len(c.Problems) != 3 || !c.Problems[0].InForce || !strings.Contains(c.Problems[0].Error(), "stays in force") {
		t.Errorf("problems %+v", c.Problems)
	}
	srv.Put(t, serverKey, goodServer)
	if v, _ := catalogue(t, s).FindVersion("redis", "7.0"); v.StaleSince == 0 {
		t.Error("a bad guest half passes")
	}
	srv.Compact(t, worse)
	c = catalogue(t, s)
	if _, offered := c.FindVersion("redis", "7.0"); offered || len(c.Problems) != 1 || c.Problems[0].InForce {
		t.Errorf("etcd has forgotten the last good revision: offered %v, problems %+v", offered, c.Problems)
	}
	srv.Put(t, guestKey, goodGuest)
	if c := catalogue(t, s); len(c.Problems) != 0 || len(c.Datastores) != 1 {
		t.Errorf("repaired: %+v", c)
	}
}

func TestCatalogueSurvivesABadDatastore(t *testing.T) {
	srv := etcdtest.Start(t)
	s := srv.Store(t)
	srv.Put(t, serverKey, goodServer)
	srv.Put(t, guestKey, goodGuest)
	srv.Put(t, "/server/datastores/redis", `{"description":"good"}`)
	srv.Put(t, "/server/datastores/redis", `{"descripton":"bad"}`)
	c := catalogue(t, s)
	if len(c.Datastores) != 1 || c.Datastores[0].Datastore.Description != "good" || len(c.Problems) != 1 || !c.Problems[0].InForce {
		t.Errorf("%+v", c)
	}
}

func TestDefaultIsTheNewest(t *testing.T) {
	srv := etcdtest.Start(t)
	for _, v := range []string{"9.9", "10.11", "10.6"} {
		srv.Put(t, "/server/datastores/mariadb/"+v, `{"manager":"mysql"}`)
		srv.Put(t, "/guest/datastores/mariadb/"+v, `{"mount_point":"/x"}`)
	}
	srv.Put(t, "/server/datastores/mariadb/11.0", `{"manager":"mysql","active":false}`)
	srv.Put(t, "/guest/datastores/mariadb/11.0", `{"mount_point":"/x"}`)
	c := catalogue(t, srv.Store(t))
	if d := c.Datastores[0]; d.Datastore.DefaultVersion != "10.11" || len(d.Versions) != 4 {
		t.Errorf("%+v", d)
	}
}

// The script is what an operator runs: the real etcdctl, against the real etcd.
func TestBuiltInDefinitions(t *testing.T) {
	datastoretest.Require(t, "/usr/bin/etcdctl", "etcd-client")
	srv := etcdtest.Start(t)
	dir := filepath.Join("..", "deployments", "definitions")
	cmd := exec.CommandContext(t.Context(), "./put.sh")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS="+srv.Endpoint())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("put.sh: %v\n%s", err, out)
	}
	s := srv.Store(t)
	c := catalogue(t, s)
	for _, p := range c.Problems {
		t.Error(p)
	}
	for _, want := range [][2]string{{"redis", "7.0"}, {"mariadb", "10.11"}, {"mysql", "mariadb-10.11"}} {
		if _, ok := c.FindVersion(want[0], want[1]); !ok {
			t.Errorf("%s %s is not offered", want[0], want[1])
		}
	}
	flavors, problems, err := s.FlavorList(t.Context())
	if err != nil || len(problems) != 0 || len(flavors) != 5 || flavors[0].ID != "1" {
		t.Errorf("flavors %+v, problems %v, %v", flavors, problems, err)
	}
	var files int
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if filepath.Ext(path) == ".json" {
			files++
		}
		return err
	})
	if keys := len(srv.All(t, "/")); err != nil || keys != files {
		t.Errorf("%d keys of %d files, %v", keys, files, err)
	}
}
