package gatewaytest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// variant is a datastore of an operator's own, made of a built-in one with some options changed.
type variant struct {
	*stage
	name          datastore
	server, guest map[string]any
}

// newVariant begins with the definition of a built-in datastore version and puts it under another name.
func (s *stage) newVariant(t *testing.T, name, of string) *variant {
	t.Helper()
	v := &variant{stage: s, name: datastore(name)}
	for _, half := range []struct {
		file string
		into *map[string]any
	}{{"server", &v.server}, {"guest", &v.guest}} {
		if err := json.Unmarshal([]byte(builtIn(t, half.file+"/datastores/"+of+".json")), half.into); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		s.etcdctl(t, "", "del", "/server/datastores/"+name+"/1")
		s.etcdctl(t, "", "del", "/guest/datastores/"+name+"/1")
	})
	v.put(t)
	return v
}

// put writes both halves with etcdctl.
func (v *variant) put(t *testing.T) {
	t.Helper()
	v.putAs(t, string(v.name)+"/1")
}

// putAs writes them as those of another datastore version.
func (v *variant) putAs(t *testing.T, version string) {
	t.Helper()
	for prefix, half := range map[string]map[string]any{"/server/datastores/": v.server, "/guest/datastores/": v.guest} {
		text, err := json.Marshal(half)
		if err != nil {
			t.Fatal(err)
		}
		v.etcdctl(t, string(text), "put", prefix+version)
	}
}

// change puts the definition with one option changed.
func (v *variant) change(t *testing.T, half map[string]any, option string, value any) {
	t.Helper()
	half[option] = value
	v.put(t)
}

// rules is the host's table of firewall rules as text.
func (s *stage) rules(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("nft", "list", "table", "inet", s.machine.table+"_sandboxes").CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
	return string(out)
}

// testOptions puts each option with etcdctl, changes it, and looks at what a real instance does differently.
func testOptions(t *testing.T, s *stage) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, *stage)
	}{
		{"ports", optionPorts}, {"root_on_create", optionRootOnCreate}, {"usage_timeout", optionUsageTimeout},
		{"backup strategy", optionBackupStrategy}, {"going back", optionGoingBack}, {"replication_strategy", optionReplicationStrategy}, {"volume", optionVolume},
		{"mount_point", optionMountPoint}, {"device_path", optionDevicePath}, {"ignored", optionIgnored}, {"packages", optionPackages},
		{"guest_log_exposed_logs", optionExposedLogs}, {"the wrong side", optionWrongSide}, {"namespaces", optionNamespaces},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, s) })
	}
}

func optionPorts(t *testing.T, s *stage) {
	v := s.newVariant(t, "opt-ports", "redis/7.0")
	has := func(id string, want bool, word string) {
		t.Helper()
		_, chain, _ := strings.Cut(s.rules(t), "chain in_"+strings.ReplaceAll(id, "-", "")+" {")
		chain, _, _ = strings.Cut(chain, "}")
		if strings.Contains(chain, word) != want {
			t.Errorf("a rule of %s with %q: %v, want %v:\n%s", id, word, !want, want, chain)
		}
	}
	_, first, _ := s.create(t, v.name, "")
	has(first, true, "6379")
	has(first, false, "7777")
	has(first, false, "udp dport")
	has(first, false, "icmp")
	s.delete(t, s.member, first)
	v.server["tcp_ports"], v.server["udp_ports"], v.server["icmp"] = []any{6379, "7777-7779"}, []any{5353}, true
	v.server["peer_tcp_ports"] = []any{7790}
	v.put(t)
	_, second, _ := s.create(t, v.name, "")
	has(second, true, "7777-7779")
	has(second, true, "udp dport 5353")
	has(second, true, "icmp")
	has(second, false, "7790") // it has no peers
}

func optionRootOnCreate(t *testing.T, s *stage) {
	v := s.newVariant(t, "opt-root", "redis/7.0")
	for _, on := range []bool{true, false} {
		v.change(t, v.server, "root_on_create", on)
		created, id, address := s.create(t, v.name, "")
		password := created.Text("instance", "password")
		if (password != "") != on {
			t.Errorf("root_on_create %v: the answer's password has %d characters", on, len(password))
		}
		if on {
			s.secrets.know("root of "+id, password)
			if err := openRedis(t, address, password).Ping(t.Context()).Err(); err != nil {
				t.Errorf("the password does not work: %v", err)
			}
		}
		if got := s.member.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/root", "").At("rootEnabled"); got != on {
			t.Errorf("rootEnabled %v, want %v", got, on)
		}
	}
}

// optionUsageTimeout lets a server run that never answers. It is where a sandbox sees it, too.
func optionUsageTimeout(t *testing.T, s *stage) {
	silent := "/usr/local/bin/" + s.machine.table + "-silent"
	t.Cleanup(func() { _ = os.Remove(silent) })
	if err := os.WriteFile(silent, []byte("#!/bin/sh\nexec sleep 600\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	v := s.newVariant(t, "opt-timeout", "redis/7.0")
	v.guest["program"] = silent
	v.change(t, v.server, "usage_timeout", 2)
	id := s.ask(t, v.name, "").Text("instance", "id")
	t.Cleanup(func() { s.delete(t, s.member, id) })
	a := s.member.Await(t, id, "ERROR", lifeTimeout)
	if got := a.Text("instance", "fault", "message"); !strings.Contains(got, "within ") && !strings.Contains(got, "deadline") {
		t.Errorf("the fault does not say that the time was up: %q", got)
	}
}

func optionBackupStrategy(t *testing.T, s *stage) {
	v := s.newVariant(t, "opt-backup", "redis/7.0")
	strategyOf := func(id string) string {
		t.Helper()
		a := s.member.Want(t, 202, http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"b","instance":%q}}`, id))
		return s.awaitBackupStatus(t, a.Text("backup", "id"), "COMPLETED").Text("backup", "strategy")
	}
	_, id, _ := s.create(t, v.name, "")
	for _, name := range []string{"rdb", "aof"} {
		v.change(t, v.server, "backup_strategy", name)
		if got := strategyOf(id); got != "redis_impl/"+name {
			t.Errorf("the server half says %s, and the backup was made with %s", name, got)
		}
	}
	v.change(t, v.server, "backup_strategy", "")
	s.member.Want(t, 501, http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"b","instance":%q}}`, id))
	v.server["backup_strategy"] = "aof"
	v.change(t, v.guest, "backup_strategy", "rdb")
	if got := strategyOf(id); got != "redis_impl/aof" {
		t.Errorf("an instance made before the guest half changed makes backups with %s", got)
	}
	_, id, _ = s.create(t, v.name, "")
	if got := strategyOf(id); got != "redis_impl/rdb" {
		t.Errorf("the guest half says rdb, and the backup was made with %s", got)
	}
	v.change(t, v.server, "backup_strategy", "tape")
	if text := s.wantProblems(t, string(v.name), "/server/datastores/opt-backup/1"); !strings.Contains(text, "its manifest lists: redis_impl/rdb, redis_impl/aof") {
		t.Errorf("an unknown strategy: %s", text)
	}
}

func optionReplicationStrategy(t *testing.T, s *stage) {
	v := s.newVariant(t, "opt-replica", "redis/7.0")
	chosen := v.server["replication_strategy"]
	_, id, _ := s.create(t, v.name, "")
	v.change(t, v.server, "replication_strategy", "")
	replicate := fmt.Sprintf(`{"instance":{"name":"r","replica_of":%q}}`, id)
	s.member.Want(t, 400, http.MethodPost, "/instances", replicate)
	v.change(t, v.server, "replication_strategy", chosen)
	replica := s.member.Want(t, 200, http.MethodPost, "/instances", replicate).Text("instance", "id")
	s.owns(replica)
	t.Cleanup(func() { s.delete(t, s.member, replica) })
	s.member.Await(t, replica, "ACTIVE", lifeTimeout)
}

func optionVolume(t *testing.T, s *stage) {
	v := s.newVariant(t, "opt-volume", "redis/7.0")
	v.change(t, v.server, "volume_support", false)
	body := func(volume string) string {
		return fmt.Sprintf(`{"instance":{"name":"v","flavorRef":1,"datastore":{"type":%q}%s}}`, v.name, volume)
	}
	s.member.Want(t, 501, http.MethodPost, "/instances", body(`,"volume":{"size":1}`))
	id := s.member.Want(t, 200, http.MethodPost, "/instances", body("")).Text("instance", "id")
	s.owns(id)
	t.Cleanup(func() { s.delete(t, s.member, id) })
	if a := s.member.Await(t, id, "ACTIVE", lifeTimeout); a.At("instance", "volume") != nil {
		t.Errorf("there is a volume: %s", a.Body)
	}
	v.server["volume_support"] = true
	v.change(t, v.server, "max_volume_size", 2)
	s.member.Want(t, 400, http.MethodPost, "/instances", body(""))
	s.member.Want(t, 413, http.MethodPost, "/instances", body(`,"volume":{"size":3}`))
}

func optionMountPoint(t *testing.T, s *stage) {
	v := s.newVariant(t, "opt-mount", "redis/7.0")
	for _, point := range []string{"/srv/here", "/srv/there"} {
		v.change(t, v.guest, "mount_point", point)
		_, id, _ := s.create(t, v.name, "")
		if found, _ := filepath.Glob(filepath.Join(s.machine.path("host"), "instances", id, "root", point, "redis", "*")); len(found) == 0 {
			t.Errorf("no data of %s below %s", id, point)
		}
	}
}

// optionDevicePath: in a sandbox there is no device to mount. What a machine of its own does with one is the guest's test.
func optionDevicePath(t *testing.T, s *stage) {
	v := s.newVariant(t, "opt-device", "redis/7.0")
	v.server["volume_support"] = false
	v.change(t, v.guest, "device_path", "/dev/vdz")
	id := s.member.Want(t, 200, http.MethodPost, "/instances", `{"instance":{"name":"d","flavorRef":1,"datastore":{"type":"opt-device"}}}`).Text("instance", "id")
	s.owns(id)
	t.Cleanup(func() { s.delete(t, s.member, id) })
	failed := s.member.Await(t, id, "ERROR", lifeTimeout)
	if why := failed.Text("instance", "fault", "message"); !strings.Contains(why, "leave device_path out") {
		t.Errorf("the fault is %q", why)
	}
}

func optionIgnored(t *testing.T, s *stage) {
	v := s.newVariant(t, "opt-ignored", "mariadb/10.11")
	v.guest["ignore_users"] = append(v.guest["ignore_users"].([]any), "ghost")
	v.change(t, v.guest, "ignore_dbs", append(v.guest["ignore_dbs"].([]any), "vault"))
	_, id, _ := s.create(t, v.name, "")
	at := gatewaytest.Instance(id)
	s.member.Want(t, 400, http.MethodPost, at+"/users", `{"users":[{"name":"ghost","password":"x"}]}`)
	s.member.Want(t, 400, http.MethodPost, at+"/databases", `{"databases":[{"name":"vault"}]}`)
	db := s.inside(t, id)
	for _, statement := range []string{"CREATE USER ghost@'%' IDENTIFIED BY 'x'", "CREATE USER seen@'%' IDENTIFIED BY 'x'", "CREATE DATABASE vault", "CREATE DATABASE open"} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{"/users": "seen", "/databases": "open"} {
		a := s.member.Want(t, 200, http.MethodGet, at+path, "")
		if got := a.Text(strings.Trim(path, "/"), 0, "name"); got != want || a.At(strings.Trim(path, "/"), 1) != nil {
			t.Errorf("%s: %s; want only %q", path, a.Body, want)
		}
	}
}

// optionPackages names a package that the machine lacks.
func optionPackages(t *testing.T, s *stage) {
	const missing = "hello"
	purge := func() { _ = exec.Command("dpkg", "--purge", missing).Run() }
	purge()
	t.Cleanup(purge)
	v := s.newVariant(t, "opt-packages", "redis/7.0")
	v.change(t, v.guest, "packages", []any{"redis-server", missing})
	s.create(t, v.name, "")
	if out, err := exec.Command("dpkg-query", "-W", "-f", "${Status}", missing).Output(); err != nil || string(out) != "install ok installed" {
		t.Errorf("package %s: %q, %v", missing, out, err)
	}
}

func optionExposedLogs(t *testing.T, s *stage) {
	v := s.newVariant(t, "opt-logs", "mariadb/10.11")
	for _, exposed := range [][]any{{}, {"general"}} {
		v.change(t, v.guest, "guest_log_exposed_logs", exposed)
		_, id, _ := s.create(t, v.name, "")
		a := s.member.Want(t, 200, http.MethodGet, gatewaytest.Instance(id)+"/log", "")
		if got := strings.Contains(string(a.Body), `"general"`); got != (len(exposed) > 0) {
			t.Errorf("exposed %v: %s", exposed, a.Body)
		}
		want := 400
		if len(exposed) > 0 {
			want = 200
		}
		if a := s.member.Do(t, http.MethodPost, gatewaytest.Instance(id)+"/log", `{"name":"general","enable":1}`); a.Status != want && !(want == 400 && a.Status == 404) {
			t.Errorf("exposed %v: enable answers %d %s", exposed, a.Status, a.Body)
		}
	}
}

// optionWrongSide puts every option of one half into the other.
func optionWrongSide(t *testing.T, s *stage) {
	v := s.newVariant(t, "opt-side", "redis/7.0")
	names := func(of any) []string {
		var all []string
		for _, f := range reflect.VisibleFields(reflect.TypeOf(of)) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			all = append(all, name)
		}
		return all
	}
	server, guest := names(datastores.ServerOptions{}), names(datastores.GuestOptions{})
	for _, name := range server {
		if !slices.Contains(guest, name) {
			v.guest[name] = true
		}
	}
	for _, name := range guest {
		if !slices.Contains(server, name) {
			v.server[name] = true
		}
	}
	v.put(t)
	text := s.wantProblems(t, "opt-side", "/server/datastores/opt-side/1", "/guest/datastores/opt-side/1")
	for _, name := range server {
		if want := name + ": belongs to the server half, under /server/"; !slices.Contains(guest, name) && !strings.Contains(text, want) {
			t.Errorf("no problem says %q", want)
		}
	}
	for _, name := range guest {
		if want := name + ": belongs to the guest half, under /guest/"; !slices.Contains(server, name) && !strings.Contains(text, want) {
			t.Errorf("no problem says %q", want)
		}
	}
}

// optionNamespaces chooses among strategies of the same name; one that the manifest lacks is a problem.
func optionNamespaces(t *testing.T, s *stage) {
	v := s.newVariant(t, "opt-space", "redis/7.0")
	v.guest["backup_namespace"], v.guest["restore_namespace"] = "redis_impl", "redis_impl"
	v.put(t)
	_, id, _ := s.create(t, v.name, "")
	a := s.member.Want(t, 202, http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":"b","instance":%q}}`, id))
	backup := s.awaitBackupStatus(t, a.Text("backup", "id"), "COMPLETED").Text("backup", "id")
	s.create(t, v.name, fmt.Sprintf(`,"restorePoint":{"backupRef":%q}`, backup))
	for _, option := range []string{"backup_namespace", "restore_namespace", "replication_namespace"} {
		was := v.guest[option]
		v.change(t, v.guest, option, "nobody")
		if text := s.wantProblems(t, "opt-space", "/guest/datastores/opt-space/1"); !strings.Contains(text, option) || !strings.Contains(text, "manifest lists") {
			t.Errorf("%s: %s", option, text)
		}
		if was == nil {
			delete(v.guest, option)
		} else {
			v.guest[option] = was
		}
	}
	v.put(t)
}
