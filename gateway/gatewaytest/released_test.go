package gatewaytest_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/etcdschema/etcdtest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestTakeOver: today's programs take over what an earlier release has left on a machine that was switched off: they list it,
// run it again with its data, restart it, back it up, restore the backup of that time, and delete it all.
func TestTakeOver(t *testing.T) {
	datastoretest.Require(t, "/usr/bin/redis-server", "redis-server")
	if os.Geteuid() != 0 {
		datastoretest.Require(t, "/nonexistent/root", "root: the files have users of their own")
	}
	r := newReleased(t)
	if *makeReleased {
		r.make(t)
		return
	}
	etcd := etcdtest.Start(t)
	r.bring(t, etcd)
	c, stop := r.start(t, etcd)
	defer stop()
	r.use(t, c)
	r.end(t, c, etcd)
}

// use does what a tenant does with what was there.
func (r *released) use(t *testing.T, c gatewaytest.Client) {
	ids := r.listed(t, c)
	alone, source, replica := ids["alone"], ids["source"], ids["replica"]
	if alone == "" || source == "" || replica == "" {
		t.Fatalf("the list has %v; want alone, source and replica", ids)
	}
	password := map[string]string{alone: r.read(t, "password of "+alone), source: r.read(t, "password of "+source)}
	password[replica] = password[source]
	for name, id := range ids {
		r.serves(t, name, redisStore.login(r.runs(t, c, id), password[id]), releasedItems)
	}
	if got := c.Want(t, http.StatusOK, http.MethodGet, gatewaytest.Instance(alone), "").Text("instance", "configuration", "name"); got != "lru" {
		t.Errorf("its configuration group is %q", got)
	}
	if got := c.Want(t, http.StatusOK, http.MethodGet, gatewaytest.Instance(alone)+"/events", ""); got.At("events", 5) == nil {
		t.Errorf("its timeline: %s", got.Body)
	}

	c.Want(t, http.StatusAccepted, http.MethodPost, gatewaytest.Instance(alone)+"/action", `{"restart":{}}`)
	c.Await(t, alone, "ACTIVE", lifeTimeout)
	r.serves(t, "alone", redisStore.login(r.runs(t, c, alone), password[alone]), releasedItems)
	address := r.runs(t, c, source)
	if n, err := redisStore.write(t.Context(), redisStore.login(address, password[source]), releasedItems, releasedItems+5); err != nil {
		t.Fatalf("%d items written: %v", n, err)
	}
	r.serves(t, "replica", redisStore.login(r.runs(t, c, replica), password[source]), releasedItems+5)

	kept := c.Want(t, http.StatusOK, http.MethodGet, "/backups", "").Text("backups", 0, "id")
	restored := r.create(t, c, "restored", fmt.Sprintf(releasedFresh+`,"restorePoint":{"backupRef":%q}`, kept))
	root := c.Want(t, http.StatusOK, http.MethodPost, gatewaytest.Instance(restored)+"/root", "")
	r.serves(t, "restored", redisStore.login(r.runs(t, c, restored), root.Text("user", "password")), releasedItems)
	r.backUp(t, c, "new", source)
}

// end deletes everything, and looks for what is left of it.
func (r *released) end(t *testing.T, c gatewaytest.Client, etcd *etcdtest.Server) {
	for _, name := range []string{"replica", "alone", "source", "restored"} {
		id := r.listed(t, c)[name]
		c.Want(t, http.StatusAccepted, http.MethodDelete, gatewaytest.Instance(id), "")
		c.AwaitGone(t, id, lifeTimeout)
	}
	backups := c.Want(t, http.StatusOK, http.MethodGet, "/backups", "")
	for n := 0; backups.At("backups", n) != nil; n++ {
		c.Want(t, http.StatusAccepted, http.MethodDelete, "/backups/"+backups.Text("backups", n, "id"), "")
	}
	until.True(t, lifeTimeout, "no backup is left", func() bool {
		return len(etcd.All(t, "/server/backups/")) == 0
	})
	for _, prefix := range []string{"/server/instances/", "/guest/instances/"} {
		if left := etcd.All(t, prefix); len(left) > 0 {
			t.Errorf("left in etcd: %v", left)
		}
	}
	if left, err := os.ReadDir(r.path("host/instances")); err != nil || len(left) > 0 {
		t.Errorf("left on the host: %v, %v", left, err)
	}
}

// listed are the ids of the instances that are there, by name.
func (r *released) listed(t *testing.T, c gatewaytest.Client) map[string]string {
	t.Helper()
	ids := map[string]string{}
	list := c.Want(t, http.StatusOK, http.MethodGet, "/instances", "")
	for n := 0; list.At("instances", n) != nil; n++ {
		ids[list.Text("instances", n, "name")] = list.Text("instances", n, "id")
	}
	return ids
}

// runs waits until an instance runs, and returns its address.
func (r *released) runs(t *testing.T, c gatewaytest.Client, id string) (address string) {
	t.Helper()
	until.True(t, lifeTimeout, id+" runs", func() bool {
		a := c.Want(t, http.StatusOK, http.MethodGet, gatewaytest.Instance(id), "")
		address = a.Text("instance", "ip", 0)
		return a.Text("instance", "status") == "ACTIVE" && a.Text("instance", "operating_status") == "HEALTHY"
	})
	return address
}

// serves waits until a server has n items.
func (r *released) serves(t *testing.T, name string, l login, n int) {
	t.Helper()
	var items []int
	var err error
	if !until.Holds(lifeTimeout, func() bool {
		items, err = redisStore.read(t.Context(), l)
		return err == nil && len(items) == n
	}) {
		t.Fatalf("%s has %d items, want %d (err %v)", name, len(items), n, err)
	}
}

// bring puts files and records where the release has had them.
func (r *released) bring(t *testing.T, etcd *etcdtest.Server) {
	t.Helper()
	for _, f := range kept[releasedFile](t, "files.json") {
		path := r.path(f.Path)
		var err error
		if f.Mode[0] == 'd' {
			err = os.Mkdir(path, 0o700)
		} else {
			err = os.WriteFile(path, append([]byte(f.Text), f.Bytes...), 0o600)
		}
		if err := cmp.Or(err, os.Chown(path, f.UID, f.UID), os.Chmod(path, f.mode())); err != nil {
			t.Fatal(err)
		}
	}
	for _, record := range kept[releasedRecord](t, "etcd.json") {
		var value bytes.Buffer
		if err := json.Compact(&value, record.Value); err != nil {
			t.Fatal(err)
		}
		etcd.Put(t, record.Key, value.String())
	}
}

func kept[T any](t *testing.T, name string) (content []T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(releasedData, name))
	if err == nil {
		err = json.Unmarshal(text, &content)
	}
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// releasedRecord is a key of etcd.
type releasedRecord struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// releasedFile is a file or a directory. A file that is no text has Bytes.
type releasedFile struct {
	Path  string `json:"path"`
	Mode  string `json:"mode"` // as ls writes it
	UID   int    `json:"uid"`
	Text  string `json:"text,omitempty"`
	Bytes []byte `json:"base64,omitempty"`
}

func (f releasedFile) mode() (mode os.FileMode) {
	for n, c := range f.Mode[1:] {
		if c != '-' {
			mode |= 1 << (8 - n)
		}
	}
	return mode
}

// released is an installation that an earlier release has made: a gateway's directory, a host's, and what was in their etcd.
// It lay where its programs' files say, and is put there again.
type released struct{ *machine }

const (
	releasedData = "testdata/released"
	releasedDir  = "/tmp/coffer-released"
	releasedNet  = "127.98.0" // below those of newMachine
	releasedUID  = 0x5ff00000 // likewise
)

func newReleased(t *testing.T) *released {
	t.Helper()
	if err := os.Mkdir(releasedDir, 0o711); err != nil {
		t.Fatalf("%v: end the test that uses it, or remove it", err)
	}
	m := &machine{dir: releasedDir, net: releasedNet, firstUID: releasedUID, table: "coffer_test_released"}
	m.wallless()
	t.Cleanup(func() {
		m.sweep()
		_ = os.RemoveAll(releasedDir)
	})
	return &released{m}
}

// start runs gateway and host where the release has run them.
func (r *released) start(t *testing.T, etcd *etcdtest.Server) (admin gatewaytest.Client, stop func()) {
	t.Helper()
	p := programs(t)
	gateway, url := p.Run(t, "serving", "coffer-gateway", "-insecure-http", "-listen", r.address(1, 8779), "-etcd-endpoints", etcd.Endpoint(),
		"-data-dir", r.path("gateway"), "-backup-dir", r.path("gateway/backups"), "-key-file", gatewaytest.KeysFile(t), "-tokens-file", gatewaytest.TokensFile(t))
	admin = gatewaytest.Client{URL: url, Token: gatewaytest.Admin, Project: gatewaytest.Project}
	if _, err := os.Stat(r.path("token")); err != nil {
		r.write(t, "host-id", r.enrol(t, url))
	}
	id, err := os.ReadFile(r.path("host-id"))
	if err != nil {
		t.Fatal(err)
	}
	args := append(r.hostArgs(p, url), "-memory", "8192", "-vcpus", "8", "-disk", "100")
	host, _ := p.Run(t, "", "/usr/bin/env", append([]string{"PATH=" + r.programs(t), p.Path("coffer-host")}, args...)...)
	admin.AwaitHost(t, string(id))
	return admin, func() {
		host.Stop()
		gateway.Stop()
	}
}

// programs is a PATH without mkfs.ext4: volumes are plain directories, small enough to be kept.
func (r *released) programs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, program := range []string{"nft", "ip"} {
		path, err := exec.LookPath(program)
		if err == nil {
			err = os.Symlink(path, filepath.Join(dir, program))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir + ":/usr/bin:/bin"
}

const (
	releasedItems = 20
	releasedFresh = `"flavorRef":1,"volume":{"size":1},"datastore":{"type":"redis"}`
)

func (r *released) create(t *testing.T, c gatewaytest.Client, name, more string) (id string) {
	t.Helper()
	a := c.Want(t, http.StatusOK, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":%q,%s}}`, name, more))
	c.Await(t, a.Text("instance", "id"), "ACTIVE", lifeTimeout)
	return a.Text("instance", "id")
}

func (r *released) backUp(t *testing.T, c gatewaytest.Client, name, instance string) {
	t.Helper()
	a := c.Want(t, http.StatusAccepted, http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":%q,"instance":%q}}`, name, instance))
	(&stage{member: c}).awaitBackupStatus(t, a.Text("backup", "id"), "COMPLETED")
}

func (r *released) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(r.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (r *released) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(r.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
