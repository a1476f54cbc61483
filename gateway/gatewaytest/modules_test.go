package gatewaytest_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// moduleOf is a request for a module of a type.
func moduleOf(name, kind, contents, more string) string {
	return fmt.Sprintf(`{"module":{"name":%q,"module_type":%q,"contents":%q%s}}`, name, kind, base64.StdEncoding.EncodeToString([]byte(contents)), more)
}

// moduleParameter is a parameter that nothing else in the test sets, with a value.
var moduleParameter = map[datastore][2]string{
	mariadbStore: {"wait_timeout", "1234"}, mysqlStore: {"wait_timeout", "1234"}, postgresqlStore: {"maintenance_work_mem", "9MB"},
}

// bundled makes modules for the server that is about to be made, and returns them as a part of its create.
func (o *operations) bundled() string {
	if o.store == redisStore {
		return ""
	}
	module := func(kind, contents string) string {
		a := o.member.Want(o.t, 200, http.MethodPost, "/modules", moduleOf(kind+" of "+string(o.store), kind, contents, `,"live_update":1`))
		return a.Text("module", "id")
	}
	seed := o.rows.make("a row that a module brings to " + string(o.store))
	p := moduleParameter[o.store]
	o.statements = module("sql", "-- database: orders\nCREATE TABLE seeds (v varchar(99)); INSERT INTO seeds VALUES ('"+seed+"'); CREATE VIEW seen AS SELECT v FROM seeds")
	o.setting = module("parameters", fmt.Sprintf(`{%q:%s}`, p[0], value(p[1])))
	return fmt.Sprintf(`,"modules":[{"id":%q},{"id":%q}]`, o.statements, o.setting)
}

// modules looks at what the modules of the create have done, in the server itself, and goes through what can be done with them.
func (o *operations) modules() {
	t, at := o.t, gatewaytest.Instance(o.id)+"/modules"
	if o.store == redisStore {
		return
	}
	db, err := o.store.sql(o.login)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	wantSeeds := func(want int) {
		t.Helper()
		var n int
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM seen").Scan(&n); err != nil || n != want {
			t.Errorf("the tenant sees %d rows of the module's, %v; want %d", n, err, want)
		}
	}
	apply := func(c gatewaytest.Client, id, status, says string) {
		t.Helper()
		a := c.Want(t, 200, http.MethodPost, at, fmt.Sprintf(`{"modules":[{"id":%q}]}`, id))
		if a.Text("modules", 0, "status") != status || !strings.Contains(a.Text("modules", 0, "message"), says) || strings.Contains(a.Text("modules", 0, "message"), "escaped") {
			t.Errorf("applied: %s; want %s, a word of %q and no statement", a.Body, status, says)
		}
	}
	wantSeeds(1)
	o.wantSetting(moduleParameter[o.store][0], moduleParameter[o.store][1])
	apply(o.member, o.statements, "OK", "have run")
	wantSeeds(1) // once

	// What is in it changes, and goes to those that have it.
	o.member.Want(t, 200, http.MethodPut, "/modules/"+o.statements, fmt.Sprintf(`{"module":{"contents":%q}}`,
		base64.StdEncoding.EncodeToString([]byte("-- database: orders\nINSERT INTO seeds VALUES ('second')"))))
	o.member.Want(t, 202, http.MethodPut, "/modules/"+o.statements+"/instances", `{"reapply":{}}`)
	until.True(t, lifeTimeout, "the module is applied again", func() bool {
		a := o.member.Want(t, 200, http.MethodGet, at, "")
		return strings.Count(string(a.Body), `"outdated":false`) == 2 && strings.Count(string(a.Body), `"status":"OK"`) == 2
	})
	wantSeeds(2)

	// A user of one database may do no more than that, and root may; what fails quotes nothing.
	const beyond = "-- database: orders\nCREATE ROLE escaped_role"
	tenants := o.member.Want(t, 200, http.MethodPost, "/modules", moduleOf("beyond "+string(o.store), "sql", beyond, "")).Text("module", "id")
	roots := o.admin.Want(t, 200, http.MethodPost, "/modules", moduleOf("root's "+string(o.store), "sql", beyond, `,"priority_apply":1`)).Text("module", "id")
	wrong := o.member.Want(t, 200, http.MethodPost, "/modules", moduleOf("wrong "+string(o.store), "sql", "-- database: orders\nescaped nonsense", "")).Text("module", "id")
	apply(o.member, tenants, "ERROR", "refused a statement")
	apply(o.member, wrong, "ERROR", "refused a statement")
	apply(o.member, roots, "OK", "have run")
	for _, user := range o.member.Want(t, 200, http.MethodGet, gatewaytest.Instance(o.id)+"/users", "").At("users").([]any) {
		if name := user.(map[string]any)["name"]; strings.HasPrefix(fmt.Sprint(name), "os_") {
			t.Errorf("the list of users shows %v", name)
		}
	}

	// Removed: what was set is as it was, what has run stays, and each module can be deleted.
	o.admin.Want(t, 403, http.MethodDelete, "/modules/"+o.statements, "")
	for _, id := range []string{o.statements, o.setting, tenants, wrong, roots} {
		o.admin.Want(t, 200, http.MethodDelete, at+"/"+id, "")
		o.admin.Want(t, 200, http.MethodDelete, "/modules/"+id, "")
	}
	if got, err := o.store.setting(t.Context(), o.login, moduleParameter[o.store][0]); err != nil || got == moduleParameter[o.store][1] {
		t.Errorf("what the module has set is %q still, %v", got, err)
	}
	wantSeeds(2)
}
