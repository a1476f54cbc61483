package gatewaytest_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// life is what a tenant does with one instance, and what was acknowledged of it.
type life struct {
	*world
	store   datastore
	name    string
	id      string
	address string
	fault   string // why it came to ERROR; then all that is left to do is to delete it

	rootName, rootPassword string
	restartsAcknowledged   int
	databases, users       []string // that are there
}

func (w *world) newLife(d datastore) *life {
	w.lives++
	return &life{world: w, store: d, name: fmt.Sprintf("%s-%d", d, w.lives)}
}

// step is a part of a life. Whatever happens during it, it ends.
type step struct {
	name   string
	do     func(*life, *testing.T)
	always bool // also after a fault
}

// steps of a whole life, in order.
func steps() []step {
	return []step{
		{name: "create", do: (*life).create},
		{name: "fill", do: (*life).fill},
		{name: "restart", do: (*life).restart},
		{name: "fill more", do: (*life).fillMore},
		{name: "check", do: (*life).check},
		{name: "delete", do: (*life).delete, always: true},
	}
}

// live does a step, if the instance is able to.
func (l *life) live(t *testing.T, s step) {
	if l.fault == "" || s.always {
		s.do(l, t)
	}
}

func (l *life) create(t *testing.T) {
	more := ""
	if l.store == mariadbStore {
		more = `,"databases":[{"name":"db"}],"users":[{"name":"user","password":"pw","databases":[{"name":"db"}]}]`
		l.databases, l.users = []string{"db"}, []string{"user"}
	}
	l.id = l.tenant.create(t, l.name, l.store, more)
	l.instances = append(l.instances, l.id)
	l.settle(t)
	if ids := l.named(t, l.name); len(ids) != 1 {
		t.Errorf("instances named %s: %v", l.name, ids)
	}
}

// settle waits until nothing is being done, and notes a fault.
func (l *life) settle(t *testing.T) {
	t.Helper()
	a := l.settled(t, l.id)
	l.address = a.Text("instance", "ip", 0)
	if a.Text("instance", "status") == "ACTIVE" {
		return
	}
	if l.fault = a.Text("instance", "fault", "message"); l.fault == "" {
		t.Fatalf("neither ACTIVE nor ERROR with a fault: %s", a.Body)
	}
	t.Logf("%s came to ERROR: %s", l.name, l.fault)
}

func (l *life) fill(t *testing.T) {
	if l.store == mariadbStore {
		l.checkUser(t, "user", "pw", "db")
		l.createDatabase(t, "db0")
		l.createDatabase(t, "db1")
		l.createUser(t, "user0", "db0")
		l.createUser(t, "user1", "db1")
		l.deleteUser(t, "user1")
		l.deleteDatabase(t, "db1")
	}
	l.enableRoot(t)
	l.write(t)
}

func (l *life) fillMore(t *testing.T) {
	if l.store == mariadbStore {
		l.createDatabase(t, "db2")
		l.createUser(t, "user2", "db2")
		l.deleteUser(t, "user0")
	}
	l.enableRoot(t)
}

func (l *life) createDatabase(t *testing.T, name string) {
	t.Helper()
	l.do(t, http.StatusAccepted, exists, http.MethodPost, l.at("/databases"), fmt.Sprintf(`{"databases":[{"name":%q}]}`, name))
	l.databases = append(l.databases, name)
}

func (l *life) deleteDatabase(t *testing.T, name string) {
	t.Helper()
	l.do(t, http.StatusAccepted, gone, http.MethodDelete, l.at("/databases/"+name), "")
	l.databases = slices.DeleteFunc(l.databases, func(n string) bool { return n == name })
}

func (l *life) createUser(t *testing.T, name, database string) {
	t.Helper()
	body := fmt.Sprintf(`{"users":[{"name":%q,"password":"pw of %[1]s","databases":[{"name":%q}]}]}`, name, database)
	l.do(t, http.StatusAccepted, exists, http.MethodPost, l.at("/users"), body)
	l.users = append(l.users, name)
	l.checkUser(t, name, "pw of "+name, database)
}

func (l *life) checkUser(t *testing.T, name, password, database string) {
	t.Helper()
	db := openMySQL(t, l.address, name, password, database)
	if err := db.Ping(); err != nil {
		t.Errorf("%s: %s cannot use %s: %v", l.name, name, database, err)
	}
	_ = db.Close()
}

func (l *life) deleteUser(t *testing.T, name string) {
	t.Helper()
	l.do(t, http.StatusAccepted, gone, http.MethodDelete, l.at("/users/"+name), "")
	l.users = slices.DeleteFunc(l.users, func(n string) bool { return n == name })
}

func (l *life) enableRoot(t *testing.T) {
	a := l.do(t, http.StatusOK, nil, http.MethodPost, l.at("/root"), "")
	l.rootName, l.rootPassword = a.Text("user", "name"), a.Text("user", "password")
}

func (l *life) restart(t *testing.T) {
	l.do(t, http.StatusAccepted, busy, http.MethodPost, l.at("/action"), `{"restart":{}}`)
	l.restartsAcknowledged++
	l.settle(t)
}

func (l *life) delete(t *testing.T) {
	l.remove(t, l.id)
	if _, err := os.Stat(filepath.Join(l.path("host"), "instances", l.id)); err == nil {
		t.Errorf("the directory of %s is there after its end", l.name)
	}
}

func (l *life) at(path string) string { return gatewaytest.Instance(l.id) + path }

const written = "before the restart"

// write leaves a word in the database, as root.
func (l *life) write(t *testing.T) {
	t.Helper()
	var err error
	if l.store == redisStore {
		err = openRedis(t, l.address, l.rootPassword).Set(t.Context(), "word", written, 0).Err()
	} else {
		_, err = l.openRoot(t).Exec("CREATE TABLE db0.words AS SELECT '" + written + "' AS word")
	}
	if err != nil {
		t.Errorf("root cannot write into %s: %v", l.name, err)
	}
}

func (l *life) openRoot(t *testing.T) *sql.DB {
	return openMySQL(t, l.address, l.rootName, l.rootPassword, "")
}

// check compares the database with what was acknowledged, and how often its server was started with how often that was
// asked for. It comes after calls that the guest has answered, and so after all that was asked before.
func (l *life) check(t *testing.T) {
	if l.store == redisStore {
		if got, err := openRedis(t, l.address, l.rootPassword).Get(context.Background(), "word").Result(); got != written {
			t.Errorf("%s has lost what was written into it: %q, %v", l.name, got, err)
		}
	} else {
		db := l.openRoot(t)
		for _, q := range []struct {
			query string
			want  []string
		}{
			{"SELECT word FROM db0.words", []string{written}},
			{"SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'db%' ORDER BY 1", l.databases},
			{"SELECT user FROM mysql.user WHERE user LIKE 'user%' ORDER BY 1", l.users},
		} {
			if got, err := column(db, q.query); err != nil || !slices.Equal(got, q.want) {
				t.Errorf("%s, %s: %q, want %q (err %v)", l.name, q.query, got, q.want, err)
			}
		}
	}
	accepted := 0
	for _, message := range l.events(t, l.id) {
		if strings.Contains(message, "asked the guest to restart") {
			accepted++
		}
	}
	if starts := l.store.starts(t, l.machine, l.id); starts != 1+accepted || accepted < l.restartsAcknowledged {
		t.Errorf("%s was started %d times after a create and %d accepted restarts, %d acknowledged", l.name, starts, accepted, l.restartsAcknowledged)
	}
	l.checkLimits(t)
}

// checkLimits looks for the server in the control groups that were made for it.
func (l *life) checkLimits(t *testing.T) {
	t.Helper()
	for _, group := range l.groups() {
		if !strings.HasPrefix(filepath.Base(group), l.id) {
			continue
		}
		if pids, err := os.ReadFile(filepath.Join(group, "cgroup.procs")); err != nil || len(pids) == 0 {
			t.Errorf("the server of %s is not in its control group %s (err %v)", l.name, group, err)
		}
	}
}
