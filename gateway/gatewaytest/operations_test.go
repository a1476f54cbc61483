package gatewaytest_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// testOperations goes with a real server through everything that can be done to one after its create: backups, restore,
// parameters, replicas, promotion under load, logs, another size.
func testOperations(d datastore) func(*testing.T, *stage) {
	return func(t *testing.T, s *stage) {
		o := &operations{stage: s, store: d, t: t}
		_, o.id, o.login = o.make(o.bundled())
		o.modules()
		o.write(o.login, 0, 200)
		o.backups()
		o.parameters()
		o.replicas()
		o.logs()
		o.sizes()
		o.canary()
	}
}

// operations is one instance and what is done to it.
type operations struct {
	*stage
	store datastore
	t     *testing.T
	id    string
	login login

	statements, setting string // modules of those types
}

// make creates an instance with a tenant who can log in.
func (o *operations) make(more string) (created gatewaytest.Answer, id string, l login) {
	o.t.Helper()
	created, id, address := o.create(o.t, o.store, more+o.tenantPart(more))
	password := ""
	if o.store == redisStore {
		root := o.member.Want(o.t, http.StatusOK, http.MethodPost, gatewaytest.Instance(id)+"/root", "")
		password = root.Text("user", "password")
		o.secrets.know("root of "+id, password)
	}
	return created, id, o.store.login(address, password)
}

// tenantPart is left out of a create that brings its own data.
func (o *operations) tenantPart(more string) string {
	if strings.Contains(more, "restorePoint") {
		return ""
	}
	return o.store.tenantPart()
}

func (o *operations) write(l login, from, to int) {
	o.t.Helper()
	if n, err := o.store.write(o.t.Context(), l, from, to); err != nil {
		o.t.Fatalf("%s acknowledged %d of %d items: %v", o.store, n, to-from, err)
	}
}

// wantItems expects the items 0 to n-1.
func (o *operations) wantItems(what string, l login, n int) {
	o.t.Helper()
	numbers, err := o.store.read(o.t.Context(), l)
	if err != nil || len(numbers) != n || n > 0 && numbers[n-1] != n-1 {
		o.t.Errorf("%s: %d items, want %d (err %v)", what, len(numbers), n, err)
	}
}

// backup makes one and waits for its end.
func (o *operations) backup(name, more string) gatewaytest.Answer {
	o.t.Helper()
	a := o.member.Want(o.t, http.StatusAccepted, http.MethodPost, "/backups", fmt.Sprintf(`{"backup":{"name":%q,"instance":%q%s}}`, name, o.id, more))
	return o.awaitBackup(a.Text("backup", "id"), "COMPLETED")
}

func (s *stage) awaitBackupStatus(t *testing.T, id, status string) gatewaytest.Answer {
	t.Helper()
	var a gatewaytest.Answer
	until.True(t, lifeTimeout, "backup "+id+" is "+status, func() bool {
		a = s.member.Want(t, http.StatusOK, http.MethodGet, "/backups/"+id, "")
		now := a.Text("backup", "status")
		if now != status && (now == "FAILED" || now == "COMPLETED") {
			t.Fatalf("backup %s is %s, want %s: %s", id, now, status, a.Body)
		}
		return now == status
	})
	return a
}

func (o *operations) awaitBackup(id, status string) gatewaytest.Answer {
	o.t.Helper()
	return o.awaitBackupStatus(o.t, id, status)
}

func (o *operations) backups() {
	t := o.t
	full := o.backup("full", "")
	o.write(o.login, 200, 250)
	last, items := full, 200
	if o.store != redisStore && o.store != mysqlStore {
		last, items = o.backup("incremental", `,"incremental":1`), 250
		if got := last.Text("backup", "parent_id"); got != full.Text("backup", "id") {
			t.Errorf("the parent is %q, want %q", got, full.Text("backup", "id"))
		}
	} else {
		o.member.Want(t, http.StatusNotImplemented, http.MethodPost, "/backups",
			fmt.Sprintf(`{"backup":{"name":"x","instance":%q,"parent_id":%q}}`, o.id, full.Text("backup", "id")))
	}
	o.write(o.login, 250, 260)
	if got := full.Text("backup", "datastore", "version_id"); got == "" || full.At("backup", "size") == nil {
		t.Errorf("a complete backup: %s", full.Body)
	}
	created, id, address := o.create(t, o.store, fmt.Sprintf(`,"restorePoint":{"backupRef":%q}`, last.Text("backup", "id")))
	restored := o.login
	restored.address = address
	if password := created.Text("instance", "password"); password != "" { // root_on_create
		o.secrets.know("root of "+id, password)
		restored.password = password
	}
	o.wantItems("restored", restored, items)
	o.write(restored, items, items+5)
	o.delete(t, o.member, id)
	o.member.Want(t, http.StatusAccepted, http.MethodDelete, "/backups/"+full.Text("backup", "id"), "")
	for _, b := range []gatewaytest.Answer{full, last} {
		o.member.Want(t, http.StatusNotFound, http.MethodGet, "/backups/"+b.Text("backup", "id"), "")
	}
	o.wantItems("the source", o.login, 260)
}

// parametersOf are a dynamic one, one that takes a restart, and one that must never be taken, each with a value.
var parametersOf = map[datastore][3][2]string{
	redisStore:      {{"maxmemory-policy", "allkeys-lru"}, {"io-threads", "2"}, {"dir", "/tmp"}},
	mariadbStore:    {{"max_connections", "77"}, {"innodb_log_buffer_size", "4194304"}, {"plugin_dir", "/tmp"}},
	mysqlStore:      {{"max_connections", "77"}, {"innodb_sort_buffer_size", "2097152"}, {"plugin_dir", "/tmp"}},
	postgresqlStore: {{"work_mem", "7MB"}, {"max_connections", "33"}, {"archive_command", "/bin/sh"}},
}

// value is a parameter's as JSON.
func value(text string) string {
	for _, r := range text {
		if r < '0' || r > '9' {
			return quoted(text)
		}
	}
	return text
}

func (o *operations) parameters() {
	t, at := o.t, gatewaytest.Instance(o.id)
	p := parametersOf[o.store]
	version := o.member.Want(t, 200, http.MethodGet, at, "").Text("instance", "datastore", "version")
	group := func(name, text string) string {
		return fmt.Sprintf(`{"configuration":{"name":"g","datastore":{"type":%q,"version":%q},"values":{%q:%s}}}`, o.store, version, name, value(text))
	}
	o.member.Want(t, 422, http.MethodPost, "/configurations", group(p[2][0], p[2][1]))
	id := o.member.Want(t, 200, http.MethodPost, "/configurations", group(p[0][0], p[0][1])).Text("configuration", "id")
	o.member.Want(t, 202, http.MethodPut, at, fmt.Sprintf(`{"instance":{"configuration":%q}}`, id))
	o.wantSetting(p[0][0], p[0][1])
	o.member.Await(t, o.id, "ACTIVE", lifeTimeout)
	o.member.Want(t, 200, http.MethodPatch, "/configurations/"+id, fmt.Sprintf(`{"configuration":{"values":{%q:%s}}}`, p[1][0], value(p[1][1])))
	o.member.Await(t, o.id, "RESTART_REQUIRED", lifeTimeout)
	o.member.Want(t, 202, http.MethodPost, at+"/action", `{"restart":{}}`)
	o.member.Await(t, o.id, "ACTIVE", lifeTimeout)
	o.wantSetting(p[0][0], p[0][1])
	o.wantSetting(p[1][0], p[1][1])
	o.member.Want(t, 202, http.MethodPut, at, `{"instance":{}}`)
	o.member.Want(t, 202, http.MethodPost, at+"/action", `{"restart":{}}`)
	o.member.Await(t, o.id, "ACTIVE", lifeTimeout)
	if got, err := o.store.setting(t.Context(), o.login, p[0][0]); err != nil || got == p[0][1] {
		t.Errorf("%s is still %s after the group was detached (err %v)", p[0][0], got, err)
	}
	o.member.Want(t, 202, http.MethodDelete, "/configurations/"+id, "")
}

func (o *operations) wantSetting(name, want string) {
	o.t.Helper()
	if o.store == redisStore && name == "io-threads" {
		return // not told to tenants
	}
	if got, err := o.store.setting(o.t.Context(), o.login, name); err != nil || got != want {
		o.t.Errorf("%s = %q, want %q (err %v)", name, got, want, err)
	}
}

func (o *operations) replicas() {
	t := o.t
	o.mu.Lock()
	a := o.member.Want(t, 200, http.MethodPost, "/instances", fmt.Sprintf(`{"instance":{"name":"replica","replica_of":%q}}`, o.id))
	replica := a.Text("instance", "id")
	o.machine.instances = append(o.machine.instances, replica)
	o.mu.Unlock()
	t.Cleanup(func() { o.delete(t, o.member, replica) })
	copied := o.login
	copied.address = o.member.Await(t, replica, "ACTIVE", lifeTimeout).Text("instance", "ip", 0)
	o.member.Await(t, o.id, "ACTIVE", lifeTimeout)
	o.write(o.login, 260, 300)
	o.awaitItems(copied, 300)
	if o.store == redisStore { // a new password is the replica's, too
		root := o.member.Want(t, 200, http.MethodPost, gatewaytest.Instance(o.id)+"/root", "")
		o.login.password = root.Text("user", "password")
		o.secrets.know("root of "+o.id, o.login.password)
		copied.password = o.login.password
		o.wantItems("the replica, with a new password", copied, 300)
	}
	if n, err := o.store.write(t.Context(), copied, 1000, 1001); err == nil {
		t.Errorf("the replica took %d writes", n)
	}
	o.scheduled(replica, 300)

	// Promotion under load: what the old source acknowledged, the new one has.
	type written struct {
		n   int
		err error
	}
	done := make(chan written, 1)
	ctx, cancel := context.WithTimeout(t.Context(), lifeTimeout)
	defer cancel()
	begun := make(chan struct{})
	go func() {
		n, err := o.store.write(ctx, o.login, 300, 320)
		close(begun)
		if err == nil {
			var more int
			more, err = o.store.write(ctx, o.login, 320, 1_000_000)
			n += more
		}
		done <- written{n, err}
	}()
	<-begun
	o.member.Want(t, 202, http.MethodPost, gatewaytest.Instance(replica)+"/action", `{"promote_to_replica_source":{}}`)
	acknowledged := <-done
	o.member.Await(t, replica, "ACTIVE", lifeTimeout)
	o.member.Await(t, o.id, "ACTIVE", lifeTimeout)
	numbers, err := o.store.read(t.Context(), copied)
	if err != nil || len(numbers) < 300+acknowledged.n {
		t.Errorf("the new source has %d items, %d were acknowledged (err %v; the writer ended with %v)", len(numbers), 300+acknowledged.n, err, acknowledged.err)
	}
	t.Logf("%s: %d writes were acknowledged before the promotion ended them with: %v", o.store, acknowledged.n, acknowledged.err)
	next := len(numbers)
	o.write(copied, next, next+10)
	o.awaitItems(o.login, next+10)
	if got := o.member.Want(t, 200, http.MethodGet, gatewaytest.Instance(o.id), "").Text("instance", "replica_of", "id"); got != replica {
		t.Errorf("the old source follows %q, want %s", got, replica)
	}
	for _, discard := range []bool{false, true} { // it goes on with what it has, and anew
		o.member.Want(t, 202, http.MethodPost, gatewaytest.Instance(o.id)+"/action", fmt.Sprintf(`{"follow":{"discard":%t}}`, discard))
		o.member.Await(t, o.id, "ACTIVE", lifeTimeout)
		o.write(copied, next+10, next+11)
		next++
		o.awaitItems(o.login, next+10)
	}
	o.member.Want(t, 202, http.MethodPut, gatewaytest.Instance(o.id), `{"instance":{"replica_of":""}}`)
	o.member.Await(t, o.id, "ACTIVE", lifeTimeout)
	o.write(o.login, next+10, next+20)
	o.wantItems("the detached one", o.login, next+20)
	o.wantItems("the one that it followed", copied, next+10)
}

// scheduled has a schedule of the set make a backup, which it does at the replica, and makes an instance of that. A copy of the files of a server that follows is not what
// one of a source is.
func (o *operations) scheduled(replica string, items int) {
	t := o.t
	if o.store != mariadbStore && o.store != postgresqlStore {
		return
	}
	at := "/schedules/" + o.member.Want(t, 200, http.MethodPost, "/schedules",
		fmt.Sprintf(`{"schedule":{"name":"of the set","instance":%q,"scope":"set","every_hours":24,"keep":1}}`, o.id)).Text("schedule", "id")
	o.member.Want(t, 202, http.MethodPost, at+"/action", `{"run":{}}`)
	var run gatewaytest.Answer
	until.True(t, lifeTimeout, "the schedule has run", func() bool {
		run = o.member.Want(t, 200, http.MethodGet, at, "")
		result := run.Text("schedule", "last_run", "result")
		return result != "" && result != "running"
	})
	if run.Text("schedule", "last_run", "result") != "completed" || run.Text("schedule", "last_run", "instance_id") != replica {
		t.Fatalf("want a backup that was made at the replica %s: %s", replica, run.Body)
	}
	o.member.Want(t, 202, http.MethodDelete, at, "")
	backup := run.Text("schedule", "last_run", "backup_id")
	created, id, address := o.create(t, o.store, fmt.Sprintf(`,"restorePoint":{"backupRef":%q}`, backup))
	restored := o.login
	restored.address = address
	if password := created.Text("instance", "password"); password != "" { // root_on_create
		o.secrets.know("root of "+id, password)
		restored.password = password
	}
	o.wantItems("made of the replica's backup", restored, items)
	o.write(restored, items, items+5) // it follows nobody
	o.delete(t, o.member, id)
	o.member.Want(t, 202, http.MethodDelete, "/backups/"+backup, "")
}

// awaitItems waits until a replica has the items 0 to n-1.
func (o *operations) awaitItems(l login, n int) {
	o.t.Helper()
	var numbers []int
	var err error
	if until.Holds(lifeTimeout, func() bool {
		numbers, err = o.store.read(o.t.Context(), l)
		return err == nil && len(numbers) == n
	}) {
		return
	}
	o.t.Errorf("%s has %d items, want %d (err %v)", l.address, len(numbers), n, err)
}

func (o *operations) logs() {
	t, at := o.t, gatewaytest.Instance(o.id)+"/log"
	list := o.member.Want(t, 200, http.MethodGet, at, "")
	var system string
	var names []string
	for i := 0; list.At("logs", i) != nil; i++ {
		names = append(names, list.Text("logs", i, "name"))
		if list.Text("logs", i, "type") == "SYS" {
			system = list.Text("logs", i, "name")
		}
	}
	if system == "" {
		t.Fatalf("there is no log of the system: %s", list.Body)
	}
	published := o.member.Want(t, 200, http.MethodPost, at, fmt.Sprintf(`{"name":%q,"publish":1}`, system))
	if n, _ := published.At("log", "published").(float64); n == 0 || published.Text("log", "prefix") == "" {
		t.Errorf("published: %s", published.Body)
	}
	if text := o.member.Want(t, 200, http.MethodGet, at+"/"+system, ""); len(text.Body) == 0 {
		t.Error("the published log is empty")
	}
	o.member.Want(t, 400, http.MethodPost, at, fmt.Sprintf(`{"name":%q,"disable":1}`, system))
	o.member.Want(t, 200, http.MethodPost, at, fmt.Sprintf(`{"name":%q,"discard":1}`, system))
	o.member.Want(t, 404, http.MethodGet, at+"/"+system, "")
	if !slices.Contains(names, "general") {
		return
	}
	o.member.Want(t, 200, http.MethodPost, at, `{"name":"general","enable":1}`)
	if o.member.Want(t, 200, http.MethodGet, gatewaytest.Instance(o.id), "").Text("instance", "status") == "RESTART_REQUIRED" {
		o.member.Want(t, 202, http.MethodPost, gatewaytest.Instance(o.id)+"/action", `{"restart":{}}`)
		o.member.Await(t, o.id, "ACTIVE", lifeTimeout)
	}
	var text gatewaytest.Answer
	if !until.Holds(lifeTimeout, func() bool { // a server's processes take up a reload, and write its log, in their own time
		if _, err := o.store.read(t.Context(), o.login); err != nil {
			t.Error(err)
		}
		o.member.Want(t, 200, http.MethodPost, at, `{"name":"general","publish":1}`)
		text = o.member.Do(t, http.MethodGet, at+"/general", "")
		return text.Status == 200 && strings.Contains(string(text.Body), "FROM items")
	}) {
		t.Errorf("the general log does not hold a statement: %d: %.500s", text.Status, text.Body)
	}
	o.member.Want(t, 200, http.MethodPost, at, `{"name":"general","disable":1}`)
}

// memorySetting is one that follows the flavor's memory.
var memorySetting = map[datastore]string{redisStore: "maxmemory", mariadbStore: "innodb_buffer_pool_size", mysqlStore: "innodb_buffer_pool_size", postgresqlStore: "shared_buffers"}

func (o *operations) sizes() {
	t, at := o.t, gatewaytest.Instance(o.id)
	before, err := o.store.setting(t.Context(), o.login, memorySetting[o.store])
	if err != nil {
		t.Fatal(err)
	}
	items, err := o.store.read(t.Context(), o.login)
	if err != nil {
		t.Fatal(err)
	}
	o.member.Want(t, 202, http.MethodPost, at+"/action", `{"resize":{"volume":{"size":2}}}`)
	a := o.member.Await(t, o.id, "ACTIVE", lifeTimeout)
	if got := a.At("instance", "volume", "size"); got != 2.0 {
		t.Errorf("the volume has %v GB, want 2", got)
	}
	o.member.Want(t, 202, http.MethodPost, at+"/action", `{"resize":{"flavorRef":"3"}}`)
	o.member.Await(t, o.id, "ACTIVE", lifeTimeout)
	after, err := o.store.setting(t.Context(), o.login, memorySetting[o.store])
	if err != nil || after == before {
		t.Errorf("%s is %s after the resize, as before (err %v)", memorySetting[o.store], after, err)
	}
	o.wantItems("after the resize", o.login, len(items))
}
