package troveimport

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/troveconf"
)

func TestRegistry(t *testing.T) {
	r := imported(t, `[DEFAULT]
datastore_registry_ext = {percona: trove.guestagent.datastore.mysql.manager.Manager,
  mysql: trove.guestagent.datastore.mysql.manager.Manager,
  acme: com.acme.trove.Manager,
  maria-two: trove.guestagent.datastore.experimental.mariadb.manager.Manager,
  cassandra: trove.guestagent.datastore.cassandra.manager.Manager,}
[acme]
backup_strategy = com.acme.trove.AcmeBackup
colour = red
[percona]
tcp_ports = 3310
`, map[string]string{"percona": "8.0"})
	for path, want := range map[string]string{
		"/server/datastores/percona#default_version":           `"8.0"`,
		"/server/datastores/percona/8.0#manager":               `"mysql"`,
		"/server/datastores/percona/8.0#tcp_ports":             `[3310]`,
		"/guest/datastores/percona/8.0#program":                `"/usr/sbin/mysqld"`, // of the default version, for percona has no 8.0
		"/server/datastores/mysql#default_version":             `"8.4"`,
		"/server/datastores/mysql#description":                 `"mysql built in"`,
		"/server/datastores/maria-two/imported#manager":        `"mysql"`,
		"/server/datastores/acme/1#backup_strategy":            `"AcmeBackup"`,
		"/guest/datastores/acme/1#colour":                      `"red"`,
		"/server/datastores/cassandra/imported#manager":        `"cassandra"`,
		"/guest/datastores/cassandra/imported#mount_point":     `"/var/lib/cassandra"`,
		"/guest/datastores/cassandra/imported#ignore_dbs":      `["system","system_auth","system_traces"]`,
		"/server/datastores/cassandra/imported#volume_support": `true`,
	} {
		if got := value(t, r, path); got != want {
			t.Errorf("%s is %s; want %s", path, got, want)
		}
	}
	if r.Lost() != 3 { // percona's and maria-two's base, cassandra without one
		t.Errorf("lost: %v", r.Notes)
	}
}

func TestVersions(t *testing.T) {
	r := imported(t, "[mysql]\n", map[string]string{"mysql": "8.0"})
	if got := value(t, r, "/guest/datastores/mysql/8.0#program"); got != `"/opt/mysqld"` {
		t.Errorf("a version that is built in was not taken from there: %s", got)
	}
	conf := &troveconf.Conf{}
	conf.Read("f", []byte("[mysql]\n"))
	if _, err := Import(Request{Conf: conf, Base: builtin(t), Versions: map[string]string{"redis": "7.0"}}); err == nil {
		t.Error("a version of what is not there was taken")
	}
}

// TestSeveralFiles: the last value counts, and that is told.
func TestSeveralFiles(t *testing.T) {
	conf := &troveconf.Conf{}
	conf.Read("trove.conf", []byte("[mysql]\ntcp_ports = 1\nfrob = 1\n"))
	conf.Read("guest.conf", []byte("[mysql]\ntcp-ports = 2\nfrob = 2\n"))
	r, err := Import(Request{Conf: conf, Base: builtin(t)})
	if err != nil {
		t.Fatal(err)
	}
	everything(t, conf, r)
	if got := value(t, r, mysqlServer+"tcp_ports"); got != "[2]" {
		t.Errorf("tcp_ports: %s", got)
	}
	if r.Lost() != 1 || len(r.Notes) != 3 || !strings.Contains(r.Notes[1].String(), "line 2 of guest.conf") {
		t.Errorf("notes: %v", r.Notes)
	}
}

// TestTxn: etcdctl reads back what was written, however it has to be quoted.
func TestTxn(t *testing.T) {
	r := imported(t, "[redis]\nappendfsync = a\"$$x`y\\z\n", nil)
	var b bytes.Buffer
	if err := WriteTxn(&b, r.Definitions); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if len(lines) != 7 || lines[0]+lines[4]+lines[5]+lines[6] != "" {
		t.Fatalf("not the three paragraphs that etcdctl txn wants:\n%s", b.String())
	}
	for _, line := range lines[1:4] {
		fields := strings.SplitN(line, " ", 3)
		text, err := strconv.Unquote(fields[2])
		if err != nil || strings.ContainsAny(text, "$`") {
			t.Fatalf("%s: %v", line, err)
		}
		if fields[1] == "/guest/datastores/redis/7.0" {
			var guest map[string]any
			if err := json.Unmarshal([]byte(text), &guest); err != nil || guest["appendfsync"] != "a\"$x`y\\z" {
				t.Errorf("appendfsync came through as %v, %v", guest["appendfsync"], err)
			}
		}
	}
}

func TestWriteFilesOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	first := []Definition{{"/server/datastores/b", json.RawMessage(`{"default_version":"1"}`)}}
	if err := WriteFiles(dir, first); err != nil {
		t.Fatal(err)
	}
	second := []Definition{{"/server/datastores/a", json.RawMessage(`{}`)}, {"/server/datastores/b", json.RawMessage(`{}`)}}
	if err := WriteFiles(dir, second); err == nil {
		t.Error("a file was overwritten")
	}
	if _, err := os.Stat(filepath.Join(dir, "server/datastores/a.json")); err == nil {
		t.Error("half of it was written")
	}
}

// TestBuiltInDefinitions starts from those that come with Coffer.
func TestBuiltInDefinitions(t *testing.T) {
	base, err := ReadBase(os.DirFS("../../../../deployments/definitions"), nil)
	if err != nil {
		t.Fatal(err)
	}
	conf := &troveconf.Conf{}
	conf.Read("trove.conf", []byte("[redis]\ntcp_ports = 6380\n[mariadb]\nignore_users = os_admin, root, me\n"))
	r, err := Import(Request{Conf: conf, Base: base})
	if err != nil {
		t.Fatal(err)
	}
	everything(t, conf, r)
	for path, want := range map[string]string{
		"/server/datastores/redis/7.0#tcp_ports":     `[6380]`,
		"/server/datastores/redis/7.0#manager":       `"redis"`,
		"/guest/datastores/redis/7.0#packages":       `["redis-server"]`,
		"/server/datastores/mariadb/10.11#tcp_ports": `[3306]`,
	} {
		if got := value(t, r, path); got != want {
			t.Errorf("%s is %s; want %s", path, got, want)
		}
	}
	users := value(t, r, "/guest/datastores/mariadb/10.11#ignore_users")
	if !strings.Contains(users, `"mariadb.sys"`) || !strings.Contains(users, `"me"`) || len(r.Notes) > 0 {
		t.Errorf("ignore_users: %s, notes %v", users, r.Notes)
	}
}

// FuzzImport: whatever a file says, each option is mapped or told, and the definitions are good: Import judges them.
func FuzzImport(f *testing.F) {
	text, err := os.ReadFile("testdata/trove.conf")
	if err != nil {
		f.Fatal(err)
	}
	for _, group := range strings.SplitAfter(string(text), "\n\n") {
		f.Add(group)
	}
	f.Add("[DEFAULT]\ndatastore_registry_ext = a:trove.guestagent.datastore.redis.manager.Manager,mysql:x,mysql:y\n[a]\ntcp_ports=1-\n")
	base := builtin(f)
	f.Fuzz(func(t *testing.T, text string) {
		conf := &troveconf.Conf{}
		conf.Read("f", []byte(text))
		r, err := Import(Request{Conf: conf, Base: base})
		if err != nil {
			t.Fatal(err)
		}
		nothingDropped(t, conf, r)
	})
}
