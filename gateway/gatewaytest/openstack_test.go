package gatewaytest_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

const openstackProgram = "/usr/bin/openstack"

// testOpenstack walks through the life of an instance as a person does, with Debian's openstack command and troveclient.
func testOpenstack(t *testing.T, s *stage) {
	datastoretest.Require(t, openstackProgram, "python3-openstackclient")
	datastoretest.Require(t, "/usr/bin/trove", "python3-troveclient")
	c := s.shell(t, "alice", s.password, "shop")
	tenant := gatewaytest.Client{URL: s.url, Token: s.login(t, "alice", s.password, "shop").Token(), Project: s.shop} // for waiting
	ofAnn, ofBob, ofRob, ofRoot := s.secrets.make("ann's password, of openstack"), s.secrets.make("bob's password, of openstack"),
		s.secrets.make("rob's password, of openstack"), s.secrets.make("root's password, given to openstack")
	created := c.run("database instance create db1 --flavor 1 --size 1 --datastore mariadb --datastore-version 10.11 --databases orders --users ann:" + ofAnn +
		" --is-public --allowed-cidr 10.0.0.0/8 -f json")
	id := created.Text("id")
	s.owns(id)
	t.Cleanup(func() { s.delete(t, tenant, id) })
	created.says("status", "BUILD").says("datastore", "mariadb").says("datastore_version", "10.11").says("flavor", "1").says("volume", 1.0)

	c.run("database flavor list -f value").prints("1 tiny 512")
	c.run("database flavor show 1 -f json").says("name", "tiny").says("ram", 512.0)
	c.run("datastore list -f value").prints(" mariadb", " mysql", " redis")
	c.run("datastore show redis -f json").says("name", "redis").prints("7.0")
	version := c.run("datastore version list mariadb -f json").row("Name", "10.11")
	c.run("datastore version show 10.11 --datastore mariadb -f json").says("name", "10.11").says("id", version["ID"])
	c.run("database limit list -f value").prints("max_instances", "max_volumes")

	c.await("db1", "ACTIVE")
	address := c.run("database instance show db1 -f json").says("id", id).says("operating_status", "HEALTHY").Text("addresses", 0, "address")
	c.run("database quota show "+s.shop+" -f json").row("Resource", "instances")
	ann := openMySQL(t, address, "ann", ofAnn, "")
	if err := ann.Ping(); err != nil {
		t.Errorf("ann, made with the instance, cannot connect: %v", err)
	}

	c.run("database db create db1 stock --character_set utf8 --collate utf8_general_ci")
	c.run("database db list db1 -f value").prints("orders", "stock")
	c.run("database db delete db1 orders")
	if left := c.run("database db list db1 -f value").text; strings.Contains(left, "orders") {
		t.Errorf("after the delete there is %q", left)
	}
	c.run("database user create db1 bob " + ofBob + " --host 10.% --databases stock")
	c.run("database user list db1 -f value").prints("bob 10.% stock", "ann %")
	c.run("database user show db1 bob --host 10.% -f json").says("name", "bob").says("host", "10.%")
	if err := openMySQL(t, address, "bob", ofBob, "stock").Ping(); err != nil {
		t.Errorf("bob cannot connect: %v", err)
	}
	c.run("database user grant access db1 ann stock")
	c.run("database user show access db1 ann -f value").prints("stock")
	c.run("database user revoke access db1 ann stock")
	if got := c.run("database user show access db1 ann -f value").text; got != "" {
		t.Errorf("after the revoke ann has access to %q", got)
	}
	c.run("database user update attributes db1 bob --host 10.% --new_name rob --new_password " + ofRob + " --new_host %")
	if err := openMySQL(t, address, "rob", ofRob, "stock").Ping(); err != nil {
		t.Errorf("bob, now rob, cannot connect: %v", err)
	}
	c.run("database user delete db1 rob")

	root := c.run("database root enable db1 -f json").says("name", "root")
	s.secrets.know("root's password, of openstack", root.Text("password"))
	if err := openMySQL(t, address, "root", root.Text("password"), "").Ping(); err != nil {
		t.Errorf("root cannot connect: %v", err)
	}
	c.run("database root show db1 -f json").says("is_root_enabled", true)
	c.run("database root disable db1")
	c.run("database root show db1 -f json").says("is_root_enabled", false)
	c.run("database root enable db1 --root_password "+ofRoot+" -f json").says("password", ofRoot)

	c.run("database instance restart db1")
	c.await("db1", "ACTIVE")
	s.shell(t, "admin", s.chief, "admin").operate(id)
	tenant.Await(t, id, "ACTIVE", lifeTimeout)
	c.run("database instance update db1 --name db2")
	c.run("database instance delete db2")
	tenant.AwaitGone(t, id, lifeTimeout)

	c.forceDelete(tenant)
}

// shell is somebody's terminal.
type shell struct {
	t     *testing.T
	env   []string
	stage *stage
}

func (s *stage) shell(t *testing.T, user, password, project string) shell {
	home := t.TempDir()
	return shell{t, []string{
		"HOME=" + home, "PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "OS_CLIENT_CONFIG_FILE=" + filepath.Join(home, "clouds.yaml"),
		"OS_AUTH_URL=" + s.identity, "OS_IDENTITY_API_VERSION=3", "OS_USERNAME=" + user, "OS_PASSWORD=" + password,
		"OS_PROJECT_NAME=" + project, "OS_USER_DOMAIN_NAME=Default", "OS_PROJECT_DOMAIN_NAME=Default",
	}, s}
}

// run runs a command of words without blanks, which must succeed.
func (c shell) run(command string) printed {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), openstackProgram, strings.Fields(command)...)
	cmd.Env = c.env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("openstack %s: %v\n%s", command, err, stderr.String())
	}
	return printed{c.t, command, strings.TrimSpace(string(out)), gatewaytest.Answer{Body: out}}
}

// await lists the instances until the one of a name has the status.
func (c shell) await(name, status string) printed {
	c.t.Helper()
	var list printed
	until.True(c.t, lifeTimeout, name+" "+status, func() bool {
		list = c.run("database instance list -f json")
		return list.row("Name", name)["Status"] == status
	})
	return list
}

// operate is what an administrator does with other people's instances and projects.
func (c shell) operate(id string) {
	c.run("database instance list --all-projects -f json").row("ID", id)
	c.run("database instance list --project-id "+c.stage.shop+" -f json").row("ID", id)
	c.run("database quota update "+c.stage.shop+" instances 7 -f json").says("instances", 7.0)
	if got := c.run("database quota show shop -f json").row("Resource", "instances")["Limit"]; got != 7.0 {
		c.t.Errorf("the quota that was set to 7 is shown as %v", got)
	}
	c.run("database instance show "+id+" -f json").says("id", id)
	c.run("database instance reboot " + id)
	c.define()
}

// define is what an administrator does with datastores.
func (c shell) define() {
	c.run("datastore version create spare own redis debian-13 --version-number 7.0 --active --default")
	version := c.run("datastore version list own -f json").row("Name", "spare")["ID"].(string)
	c.run("datastore version set " + version + " --disable --non-default --image-tags a,b")
	c.run("datastore version show "+version+" -f json").says("active", false).says("version", "7.0")
	c.run("datastore version delete " + version)
	c.run("datastore delete " + etcdschema.DatastoreID("own"))
	if left := c.run("datastore list -f value").text; strings.Contains(left, "own") {
		c.t.Errorf("after its delete there is still own:\n%s", left)
	}
}

// forceDelete deletes an instance that is being built, when nothing else can be done with it.
func (c shell) forceDelete(tenant gatewaytest.Client) {
	t := c.t
	answer := tenant.Want(t, http.StatusOK, http.MethodPost, "/instances",
		`{"instance":{"name":"stuck","flavorRef":1,"volume":{"size":1},"datastore":{"type":"mariadb"}}}`)
	id := answer.Text("instance", "id")
	c.stage.owns(id)
	if status := answer.Text("instance", "status"); status != "BUILD" {
		t.Errorf("an instance that was just asked for has status %q", status)
	}
	c.run("database instance force delete " + id)
	tenant.AwaitGone(t, id, lifeTimeout)
}

// printed is what a command has printed: text, and JSON when that was asked for.
type printed struct {
	t       *testing.T
	command string
	text    string
	gatewaytest.Answer
}

// says expects a value in the JSON.
func (p printed) says(key string, want any) printed {
	p.t.Helper()
	if got := p.At(key); got != want {
		p.t.Errorf("openstack %s: %s is %v, want %v\n%s", p.command, key, got, want, p.text)
	}
	return p
}

// prints expects texts.
func (p printed) prints(want ...string) printed {
	p.t.Helper()
	for _, w := range want {
		if !strings.Contains(p.text, w) {
			p.t.Errorf("openstack %s: no %q in\n%s", p.command, w, p.text)
		}
	}
	return p
}

// row is the row of a JSON table in which a column has a value.
func (p printed) row(column, value string) map[string]any {
	p.t.Helper()
	for i := 0; p.At(i) != nil; i++ {
		if row, _ := p.At(i).(map[string]any); row[column] == value {
			return row
		}
	}
	p.t.Fatalf("openstack %s: no row with %s %s in\n%s", p.command, column, value, p.text)
	return nil
}
