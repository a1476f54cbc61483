package gatewaytest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/databases"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/users"
	"github.com/gophercloud/gophercloud/v2/pagination"

	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// quickly is how long an instance of the datastore "memory" has for anything.
const quickly = 20 * time.Second

// clients is a gateway with a host of in-memory servers, and the clients of Trove as processes and libraries of their own.
type clients struct {
	*gatewaytest.Gateway
	member gatewaytest.Client
}

func newClients(t *testing.T) clients {
	t.Helper()
	store := etcdtest.Start(t).Store(t)
	gatewaytest.Define(t, store)
	g := gatewaytest.Start(t, store)
	gatewaytest.StartHost(t, g)
	return clients{g, g.Client(gatewaytest.Member)}
}

func (c clients) create(t *testing.T, name string) string {
	t.Helper()
	id := c.member.Create(t, name, "")
	c.member.Await(t, id, "ACTIVE", quickly)
	return id
}

const (
	python       = "/usr/bin/python3"
	pythonSDK    = "/usr/lib/python3/dist-packages/openstack/database/v1/_proxy.py"
	pythonClient = "/usr/lib/python3/dist-packages/troveclient/v1/client.py"
)

// python runs a part of testdata/clients.py and returns its result.
func (c clients) python(t *testing.T, part string, arguments map[string]any) gatewaytest.Answer {
	t.Helper()
	in, err := json.Marshal(arguments)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/clients.py", part)
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "ENDPOINT=" + c.endpoint(), "TOKEN=" + gatewaytest.Member}
	cmd.Stdin = bytes.NewReader(in)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", part, err, stderr.String())
	}
	return gatewaytest.Answer{Body: out}
}

func (c clients) endpoint() string { return c.URL + "/v1.0/" + gatewaytest.Project }

// TestOpenstackSDK does what openstacksdk can do with a database service.
func TestOpenstackSDK(t *testing.T) {
	t.Parallel()
	datastoretest.Require(t, pythonSDK, "python3-openstacksdk", python)
	datastoretest.Require(t, pythonClient, "python3-troveclient")
	c := newClients(t)
	id, other := c.create(t, "first"), c.create(t, "second")
	wantResult(t, c.python(t, "look", map[string]any{"instance": id, "name": "first"}), map[string]any{
		"flavors": []any{"small", "large"}, "flavor": "small", "found_flavor": true, "instances": []any{other, id}, "instances_one_by_one": []any{id, other},
		"instance": "first", "found_instance": true, "nobody": true, "root": false,
	})
	wantResult(t, c.python(t, "change", map[string]any{"instance": id}), map[string]any{
		"databases": []any{"two"}, "users": []any{"two"}, "missing": true, "root": true, "root_is_enabled": true,
	})
	for _, action := range []struct {
		name     string
		argument any
	}{{"restart", nil}, {"resize", 2}, {"resize_volume", 2}} {
		c.python(t, "act", map[string]any{"instance": id, "action": action.name, "argument": action.argument})
		c.member.Await(t, id, "ACTIVE", quickly)
	}
	in := c.member.Want(t, http.StatusOK, http.MethodGet, gatewaytest.Instance(id), "")
	if in.Text("instance", "flavor", "id") != "2" || in.At("instance", "volume", "size") != 2.0 {
		t.Errorf("after the resizes: %s", in.Body)
	}
	c.python(t, "delete", map[string]any{"instance": id})
	c.member.AwaitGone(t, id, quickly)
	if got := c.python(t, "gone", map[string]any{"instance": id}).At("result"); got != true {
		t.Errorf("of an instance that is gone openstacksdk says %v", got)
	}
}

func wantResult(t *testing.T, a gatewaytest.Answer, want map[string]any) {
	t.Helper()
	if diff := cmp.Diff(any(want), a.At("result")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// printable are names that end with every printable character of ASCII, and with some beyond.
func printable() []string {
	names := []string{"é", "数据库", "😀", "b%cent", "b%41", "a+b&c=d#e", "b;c?d", "a%20b", "a b"}
	for c := ' '; c <= '~'; c++ {
		names = append(names, "b"+string(c))
	}
	return names
}

// makeAll makes a database and a user of each name.
func (c clients) makeAll(t *testing.T, id string, names []string) {
	t.Helper()
	for list, format := range map[string]string{"databases": `{"name":%s}`, "users": `{"name":%s,"password":"s3cret"}`} {
		var items []string
		for _, name := range names {
			items = append(items, fmt.Sprintf(format, quoted(name)))
		}
		c.member.Want(t, http.StatusAccepted, http.MethodPost, gatewaytest.Instance(id)+"/"+list, `{"`+list+`":[`+strings.Join(items, ",")+`]}`)
	}
}

// TestClientsPage has each client go through databases and users whose names end with every printable character, one on each
// page: each comes once.
func TestClientsPage(t *testing.T) {
	t.Parallel()
	c := newClients(t)
	id := c.create(t, "db")
	want := printable()
	c.makeAll(t, id, want)
	slices.Sort(want)
	wantNames := func(t *testing.T, got []string) {
		t.Helper()
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the pages hold (-want +got):\n%s", diff)
		}
	}
	t.Run("gophercloud", func(t *testing.T) {
		db := &gophercloud.ServiceClient{
			ProviderClient: &gophercloud.ProviderClient{TokenID: gatewaytest.Member}, Endpoint: c.endpoint() + "/",
		}
		at := db.ServiceURL("instances", id)
		wantNames(t, names(t, pagination.NewPager(db, at+"/databases?limit=1", func(r pagination.PageResult) pagination.Page {
			return databases.DBPage{LinkedPageBase: pagination.LinkedPageBase{PageResult: r}}
		}), extractDatabases))
		var plain []string
		for _, user := range names(t, pagination.NewPager(db, at+"/users?limit=1", func(r pagination.PageResult) pagination.Page {
			return users.UserPage{LinkedPageBase: pagination.LinkedPageBase{PageResult: r}}
		}), extractUsers) {
			plain = append(plain, strings.TrimSuffix(user, "@%"))
		}
		wantNames(t, plain)
	})
	t.Run("python", func(t *testing.T) {
		datastoretest.Require(t, pythonSDK, "python3-openstacksdk", python)
		datastoretest.Require(t, pythonClient, "python3-troveclient")
		a := c.python(t, "pages", map[string]any{"instance": id, "limit": 1})
		for _, of := range []string{"openstacksdk databases", "openstacksdk users", "troveclient databases", "troveclient users"} {
			t.Run(of, func(t *testing.T) { wantNames(t, texts(a.At("result", of))) })
		}
	})
	t.Run("openstack", func(t *testing.T) {
		datastoretest.Require(t, openstackProgram, "python3-openstackclient")
		datastoretest.Require(t, "/usr/bin/trove", "python3-troveclient")
		sh := c.shell(t, gatewaytest.Member)
		for _, list := range []string{"db", "user"} {
			printed := sh.run("database " + list + " list " + id + " -f json")
			var got []string
			for i := 0; printed.At(i) != nil; i++ {
				got = append(got, printed.Text(i, "Name"))
			}
			wantNames(t, got)
		}
	})
}

// texts are the strings of a JSON array.
func texts(list any) (all []string) {
	items, _ := list.([]any)
	for _, item := range items {
		all = append(all, fmt.Sprint(item))
	}
	return all
}

// shell is the terminal of somebody with a static token.
func (c clients) shell(t *testing.T, token string) shell {
	return shell{t, []string{
		"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "OS_AUTH_TYPE=admin_token",
		"OS_ENDPOINT=" + c.endpoint(), "OS_TOKEN=" + token,
	}, nil}
}

// TestOpenstackAcrossProjects is an operator who looks at every project and acts on what is found, with Debian's openstack
// command.
func TestOpenstackAcrossProjects(t *testing.T) {
	t.Parallel()
	datastoretest.Require(t, openstackProgram, "python3-openstackclient")
	datastoretest.Require(t, "/usr/bin/trove", "python3-troveclient")
	c := newClients(t)
	owner := c.Client(gatewaytest.Other)
	owner.Project = "p2"
	id := owner.Create(t, "theirs", "")
	owner.Await(t, id, "ACTIVE", quickly)
	group := owner.Want(t, http.StatusOK, http.MethodPost, "/configurations",
		`{"configuration":{"name":"theirs","values":{"max_connections":7},"datastore":{"type":"memory","version":"1"}}}`).Text("configuration", "id")
	backup := owner.Want(t, http.StatusAccepted, http.MethodPost, "/backups", `{"backup":{"name":"theirs","instance":"`+id+`"}}`).Text("backup", "id")
	owner.Await(t, id, "ACTIVE", quickly)

	sh := c.shell(t, gatewaytest.Admin)
	sh.run("database instance list --all-projects -f json").row("ID", id)
	sh.run("database instance show "+id+" -f json").says("name", "theirs")
	sh.run("database configuration list -f json").row("ID", group)
	sh.run("database configuration show "+group+" -f json").says("name", "theirs")
	sh.run("database backup list --all-projects -f json").row("ID", backup)
	sh.run("database backup show "+backup+" -f json").says("name", "theirs")
	sh.run("database log list "+id+" -f json").row("Name", "error")
	sh.run("database log show "+id+" error -f json").says("name", "error").says("type", "SYS")
	sh.run("database instance restart " + id)
	owner.Await(t, id, "ACTIVE", quickly)
	sh.run("database backup delete " + backup)
	sh.run("database configuration delete " + group)
	sh.run("database instance delete " + id)
	owner.AwaitGone(t, id, quickly)
	owner.Want(t, http.StatusNotFound, http.MethodGet, "/backups/"+backup, "")
	owner.Want(t, http.StatusNotFound, http.MethodGet, "/configurations/"+group, "")
}
