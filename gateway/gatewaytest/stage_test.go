package gatewaytest_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	driver "github.com/go-sql-driver/mysql"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"

	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestAcceptance does what tenants and operators do, with a gateway, its etcd, a host, guests and database servers that
// are processes of their own, and with the clients that they use. Whatever secret any part of it has used is looked for
// in the end wherever it must not be.
func TestAcceptance(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	t.Run("parts", func(t *testing.T) {
		for _, part := range []struct {
			name string
			run  func(*testing.T, *stage)
		}{
			{"openstack", testOpenstack},
			{"openstack operations", testOpenstackOperations},
			{"gophercloud", testGophercloud},
			{"secrets", testSecretsLife},
			{"names", testNames},
			{"bodies", testBodies},
			{"definitions", testDefinitions},
			{"ports", testPorts},
			{"hostile", testHostile},
			{"crowd", testCrowd},
			{"options", testOptions},
			{"ssl", testSSL},
			{"upgrade", testUpgrade},
			{"operations on mariadb", testOperations(mariadbStore)},
			{"operations on mysql", testOperations(mysqlStore)},
			{"operations on postgresql", testOperations(postgresqlStore)},
			{"operations on redis", testOperations(redisStore)},
		} {
			t.Run(part.name, func(t *testing.T) {
				t.Parallel()
				part.run(t, s)
			})
		}
	})
	s.lookForLeaks(t)
}

// stage is a gateway with its etcd inside, the built-in identity and the definitions of this repository, and a host.
type stage struct {
	machine   *machine
	secrets   *ledger
	rows      *ledger // and statements, of tenants
	watcher   *watcher
	chronicle *chronicle
	url       string // of the gateway
	etcd      string // endpoint
	identity  string // URL of the identity service
	shop      string // id of the project that alice is a member of
	chief     string // password of the administrator
	password  string // of alice
	admin     gatewaytest.Client
	member    gatewaytest.Client
	gateway   *gatewaytest.Process
	host      *gatewaytest.Process

	mu sync.Mutex // of what machine.create changes
}

func newStage(t *testing.T) *stage {
	t.Helper()
	return newStageOn(t, newMachine(t))
}

func newStageOn(t *testing.T, m *machine) *stage {
	t.Helper()
	datastoretest.Require(t, "/usr/bin/redis-server", "redis-server")
	datastoretest.Require(t, "/usr/sbin/mariadbd", "mariadb-server")
	datastoretest.Require(t, "/usr/lib/postgresql/15/bin/postgres", "postgresql-15")
	datastoretest.Require(t, "/usr/bin/mariadb-backup", "mariadb-backup")
	datastoretest.Require(t, "/usr/bin/etcdctl", "etcd-client")
	p := programs(t)
	s := &stage{machine: m, secrets: newLedger(), rows: newLedger()}
	s.watcher = watchCommandLines(t)
	gateway, url := p.Run(t, "serving", "coffer-gateway", "-insecure-http", "-listen", s.machine.address(1, 8779),
		"-data-dir", s.machine.path("gateway"), "-tokens-file", gatewaytest.TokensFile(t),
		"-limit", "get=-1,post=-1,put=-1,delete=-1,mgmt_post=-1,write_bytes=-1") // one project does the work of many
	s.url, s.etcd, s.identity = url, gateway.Printed("etcd"), url+"/identity/v3"
	s.chronicle = keepChronicle(t, s.etcd)
	s.admin = gatewaytest.Client{URL: url, Token: gatewaytest.Admin, Project: gatewaytest.Project}
	s.member = s.admin
	s.member.Token = gatewaytest.Member
	for _, token := range []string{gatewaytest.Admin, gatewaytest.Member} {
		s.secrets.know("a tenant's static token", token)
	}
	s.define(t)
	hostID := s.machine.enrol(t, url)
	token, err := os.ReadFile(s.machine.path("token"))
	if err != nil {
		t.Fatal(err)
	}
	s.secrets.know("the host's enrolment token", string(token))
	host, _ := p.Run(t, "", "coffer-host", append(s.machine.hostArgs(p, url), "-memory", "100000", "-vcpus", "100", "-disk", "1000")...)
	s.gateway, s.host = gateway, host
	s.admin.AwaitHost(t, hostID)
	s.admin.Want(t, http.StatusOK, http.MethodPut, "/mgmt/quotas/"+gatewaytest.Project, `{"quotas":{"instances":100,"volumes":500}}`)
	words := strings.Fields(gateway.Printed("first start:"))
	s.chief = words[len(words)-1]
	s.employ(t)
	return s
}

// define puts the definitions as an operator does who has nothing but etcdctl.
func (s *stage) define(t *testing.T) {
	t.Helper()
	put := exec.CommandContext(t.Context(), "/bin/sh", "-e", "./put.sh")
	put.Dir = filepath.Join("..", "..", "deployments", "definitions")
	put.Env = append(os.Environ(), "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS="+s.etcd)
	if out, err := put.CombinedOutput(); err != nil {
		t.Fatalf("put.sh: %v\n%s", err, out)
	}
}

// employ makes the project "shop" and its member alice, as the administrator of the first start.
func (s *stage) employ(t *testing.T) {
	t.Helper()
	s.secrets.know("the administrator's password", s.chief)
	s.password = s.secrets.make("alice's password")
	ctx := t.Context()
	keystone, err := openstack.NewIdentityV3(s.login(t, "admin", s.chief, "admin"), gophercloud.EndpointOpts{})
	if err != nil {
		t.Fatal(err)
	}
	shop, err := projects.Create(ctx, keystone, projects.CreateOpts{Name: "shop"}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	alice, err := users.Create(ctx, keystone, users.CreateOpts{Name: "alice", Password: s.password, DefaultProjectID: shop.ID}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	known, err := roles.List(keystone, roles.ListOpts{Name: "member"}).AllPages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	member, err := roles.ExtractRoles(known)
	if err != nil || len(member) != 1 {
		t.Fatal(member, err)
	}
	if err := roles.Assign(ctx, keystone, member[0].ID, roles.AssignOpts{UserID: alice.ID, ProjectID: shop.ID}).ExtractErr(); err != nil {
		t.Fatal(err)
	}
	s.shop = shop.ID
}

// login is gophercloud's, by password.
func (s *stage) login(t *testing.T, user, password, project string) *gophercloud.ProviderClient {
	t.Helper()
	provider, err := openstack.AuthenticatedClient(t.Context(), gophercloud.AuthOptions{
		IdentityEndpoint: s.identity, Username: user, Password: password, TenantName: project, DomainName: "Default",
	})
	if err != nil {
		t.Fatal(err)
	}
	s.secrets.know("a token of "+user, provider.Token())
	return provider
}

// create asks for an instance and waits until it is ACTIVE. The answer is that to the create. more is further JSON of the
// instance. It is deleted with the test, if it is there still.
func (s *stage) create(t *testing.T, d datastore, more string) (created gatewaytest.Answer, id, address string) {
	t.Helper()
	created = s.ask(t, d, more)
	id = created.Text("instance", "id")
	t.Cleanup(func() { s.delete(t, s.member, id) })
	return created, id, s.member.Await(t, id, "ACTIVE", lifeTimeout).Text("instance", "ip", 0)
}

// ask asks for an instance.
func (s *stage) ask(t *testing.T, d datastore, more string) gatewaytest.Answer {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock() // also when the test ends here
	return s.machine.create(t, s.member, d, more)
}

func (s *stage) delete(t *testing.T, c gatewaytest.Client, id string) {
	t.Helper()
	if a := c.Do(t, http.MethodDelete, gatewaytest.Instance(id), ""); a.Status != http.StatusAccepted && a.Status != http.StatusNotFound {
		t.Errorf("delete of %s: %d: %s", id, a.Status, a.Body)
	}
	c.AwaitGone(t, id, lifeTimeout)
}

// owns tells the machine of an instance that a client has made, so that the machine knows what it had.
func (s *stage) owns(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.machine.instances = append(s.machine.instances, id)
}

// inside opens a MariaDB through its socket as its guest does, to look behind the API.
func (s *stage) inside(t *testing.T, id string) *sql.DB {
	t.Helper()
	password, err := os.ReadFile(s.machine.guestFile(id, "os_admin.password"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := driver.NewConfig()
	cfg.User, cfg.Passwd = "os_admin", strings.TrimSpace(string(password))
	cfg.Net, cfg.Addr = "unix", filepath.Join(s.machine.path("host"), "instances", id, "root/var/lib/mysql/mysqld.sock")
	connector, err := driver.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// etcdctl runs Debian's etcdctl against the gateway's etcd and returns what it printed.
func (s *stage) etcdctl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command("etcdctl", args...)
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS="+s.etcd)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("etcdctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// quoted is a string as JSON.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("a string is always JSON: %v", err))
	}
	return string(b)
}
