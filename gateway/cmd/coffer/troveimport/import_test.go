package troveimport

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/definitions"
	"github.com/cofferdb/coffer/gateway/cmd/coffer/troveconf"
)

func named(namespace string, names ...string) []datastores.Strategy {
	var all []datastores.Strategy
	for _, name := range names {
		all = append(all, datastores.Strategy{StrategyName: datastores.StrategyName{Namespace: namespace, Name: name}})
	}
	return all
}

// builtin is a base with managers that have every strategy.
func builtin(t testing.TB) *Base {
	t.Helper()
	offer := func(datastore, version, guest string, o datastores.ServerOptions) datastores.Offer {
		o.Capabilities = []datastores.Capability{datastores.CanRoot}
		o.VolumeSupport = true
		return datastores.Offer{Datastore: datastore, Version: version, Description: datastore + " built in", Server: o, Guest: json.RawMessage(guest)}
	}
	mysql := func(chosen string) datastores.ServerOptions {
		return datastores.ServerOptions{
			Manager: "mysql", BackupStrategy: chosen,
			BackupStrategies:      named("mysql_impl", "mariabackup", "xtrabackup", "mysqldump"),
			ReplicationStrategies: named("mysql_gtid", "MariaDBGTIDReplication", "MysqlGTIDReplication"),
		}
	}
	maria := mysql("mariabackup")
	maria.ReplicationStrategy = "MariaDBGTIDReplication"
	b, err := ReadBase(nil, map[string]datastores.Manifest{
		"mysql": {Manager: "mysql", Offers: []datastores.Offer{
			offer("mysql", "8.4", `{"mount_point":"/var/lib/mysql","ignore_users":["os_admin"],"program":"/usr/sbin/mysqld"}`, mysql("xtrabackup")),
			offer("mysql", "8.0", `{"mount_point":"/var/lib/mysql","program":"/opt/mysqld"}`, mysql("xtrabackup")),
			offer("mariadb", "10.11", `{"mount_point":"/var/lib/mysql"}`, maria),
		}},
		"postgresql": {Manager: "postgresql", Offers: []datastores.Offer{
			offer("postgresql", "15", `{"mount_point":"/var/lib/postgresql"}`, datastores.ServerOptions{
				Manager: "postgresql", BackupStrategy: "pg_basebackup", BackupStrategies: named("postgresql_impl", "pg_basebackup", "pg_dump"),
				ReplicationStrategies: named("postgresql_impl", "PostgresqlReplicationStreaming"),
			}),
		}},
		"redis": {Manager: "redis", Offers: []datastores.Offer{
			offer("redis", "7.0", `{"mount_point":"/var/lib/redis","databases":16,"appendfsync":"everysec","flags":["a"],"lazy":true}`, datastores.ServerOptions{
				Manager: "redis", TCPPorts: []datastores.PortRange{{First: 6379, Last: 6379}},
				BackupStrategies: named("redis_impl", "rdb", "aof"), ReplicationStrategies: named("redis_sync", "RedisSyncReplication"),
			}),
		}},
		"acme": {Manager: "acme", Options: []datastores.OptionDoc{{Name: "mount_point", Type: "string"}, {Name: "colour", Type: "string"}}, Offers: []datastores.Offer{
			offer("acme", "1", `{"mount_point":"/var/lib/acme"}`, datastores.ServerOptions{Manager: "acme", BackupStrategies: named("acme_impl", "AcmeBackup")}),
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func imported(t testing.TB, text string, versions map[string]string) *Result {
	t.Helper()
	conf := &troveconf.Conf{}
	conf.Read("trove.conf", []byte(text))
	r, err := Import(Request{Conf: conf, Versions: versions, Base: builtin(t)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// value finds what a definition holds; path is KEY#MEMBER. "": it holds nothing there.
func value(t testing.TB, r *Result, path string) string {
	t.Helper()
	key, member, _ := strings.Cut(path, "#")
	i := slices.IndexFunc(r.Definitions, func(d Definition) bool { return d.Key == key })
	if i < 0 {
		t.Fatalf("there is no %s", key)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(r.Definitions[i].Value, &members); err != nil {
		t.Fatal(err)
	}
	return string(members[member])
}

// everything checks what holds of each import: every option is mapped or told, and the definitions are good.
func everything(t testing.TB, conf *troveconf.Conf, r *Result) {
	t.Helper()
	nothingDropped(t, conf, r)
	if len(r.Definitions) == 0 {
		return
	}
	dir := t.TempDir()
	for range 2 { // the second time it is there
		if err := WriteFiles(dir, r.Definitions); err != nil {
			t.Fatal(err)
		}
	}
	set, err := definitions.Read(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range set.Problems {
		t.Error(p)
	}
}

func nothingDropped(t testing.TB, conf *troveconf.Conf, r *Result) {
	t.Helper()
	told := map[troveconf.Place]int{}
	for _, n := range r.Notes {
		told[n.Place]++
		if n.Why == "" {
			t.Errorf("%v says nothing", n)
		}
	}
	for _, m := range r.Mapped {
		told[m.Place]++
	}
	for _, e := range conf.Entries {
		if told[e.Place] == 0 {
			t.Errorf("%s: %s.%s was dropped silently", e.Place, e.Group, e.Name)
		}
	}
	for _, p := range conf.Problems {
		if told[p.Place] == 0 {
			t.Errorf("%v was dropped silently", p)
		}
	}
}

// TestEveryOption imports all that Trove had, with the built-in definitions and without any.
func TestEveryOption(t *testing.T) {
	text, err := os.ReadFile("testdata/trove.conf")
	if err != nil {
		t.Fatal(err)
	}
	conf := &troveconf.Conf{}
	conf.Read("trove.conf", text)
	for name, base := range map[string]*Base{"built in": builtin(t), "nothing": {}} {
		t.Run(name, func(t *testing.T) {
			r, err := Import(Request{Conf: conf, Base: base})
			if err != nil {
				t.Fatal(err)
			}
			everything(t, conf, r)
			if n := len(r.Definitions); n != 12*3 {
				t.Errorf("%d definitions; want 3 for each of 12 datastores", n)
			}
			for _, n := range r.Notes {
				if strings.Contains(n.String(), "NETOU7897NNLOU") || strings.Contains(n.String(), "secret") {
					t.Errorf("a secret is told: %v", n)
				}
			}
		})
	}
	for _, r := range groupRules() {
		known := slices.ContainsFunc(conf.Entries, func(e troveconf.Entry) bool { return e.Name == r.option })
		if !known && r.option != "replication_net_interface" {
			t.Errorf("testdata has no %s", r.option)
		}
	}
	for _, e := range conf.Entries {
		if managers()[e.Group] != "" && !slices.ContainsFunc(groupRules(), func(r rule) bool { return r.option == e.Name }) {
			t.Errorf("%s: there is no rule for %s", e.Place, e.Name)
		}
	}
}

// TestTroveDefaults: what is taken of datastores that nobody defines agrees with the full configuration.
func TestTroveDefaults(t *testing.T) {
	text, err := os.ReadFile("testdata/trove.conf")
	if err != nil {
		t.Fatal(err)
	}
	var all, few troveconf.Conf
	all.Read("trove.conf", text)
	few.Read("trove-defaults.conf", defaults)
	if len(few.Problems) > 0 || len(few.Groups) != 12 {
		t.Errorf("%d groups, problems %v", len(few.Groups), few.Problems)
	}
	for _, e := range few.Entries {
		other, ok := all.Last(e.Group, e.Name)
		want, err := all.Expand(other)
		got := strings.Join(troveconf.List(e.Value), ",")
		if want = strings.Join(troveconf.List(want), ","); !ok || err != nil {
			t.Errorf("%s.%s: %v", e.Group, e.Name, err)
		} else if e.Group != "percona" && got != want { // percona refers to mysql's
			t.Errorf("%s.%s: %q here, %q there", e.Group, e.Name, got, want)
		}
		d := draft{guest: map[string]json.RawMessage{}}
		i := slices.IndexFunc(groupRules(), func(r rule) bool { return r.option == e.Name })
		if i < 0 || groupRules()[i].carry == nil || groupRules()[i].carry(&d, e.Value) != nil {
			t.Errorf("%s.%s cannot be taken", e.Group, e.Name)
		}
	}
}
