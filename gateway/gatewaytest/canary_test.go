package gatewaytest_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// canary has the server say what a tenant has stored and asked: in errors, in its crash reports, in what it tells of a session that is
// in the way of an operation. Nobody may pass that on.
func (o *operations) canary() {
	row, statement := o.rows.make("a row in "+string(o.store)), o.rows.make("a statement to "+string(o.store))
	o.passwords()
	switch o.store {
	case redisStore:
		o.crashRedis(row, statement)
	case mariadbStore, mysqlStore:
		o.crashMySQL(o.twice(row), statement)
		o.inTheWay(statement)
	default:
		o.twice(row)
	}
	o.shown()
}

// passwords has calls with passwords succeed and fail.
func (o *operations) passwords() {
	at, given := gatewaytest.Instance(o.id), quoted(o.secrets.make("root's password, given"))
	o.member.Want(o.t, 200, http.MethodPost, at+"/root", `{"password":`+given+`}`)
	if o.store == redisStore {
		o.login.password = ""
		_ = json.Unmarshal([]byte(given), &o.login.password)
		return
	}
	user := func(what string) string {
		return `{"users":[{"name":"eve","password":` + quoted(o.secrets.make("eve's password, "+what)) + `}]}`
	}
	o.member.Want(o.t, 202, http.MethodPost, at+"/users", user("of the create"))
	o.member.Want(o.t, 202, http.MethodPut, at+"/users", user("changed"))
	o.member.Want(o.t, 400, http.MethodPost, at+"/users", user("of a user who is there"))
	o.member.Want(o.t, 404, http.MethodPut, at+"/users/eve/databases", `{"databases":[{"name":"nowhere"}]}`)
}

// twice writes a row that is there: the server's error quotes it.
func (o *operations) twice(row string) *sql.DB {
	insert := "INSERT INTO canary VALUES ('" + row + "')"
	db := o.begin("CREATE TABLE canary (v VARCHAR(80) PRIMARY KEY)", insert)
	if _, err := db.Exec(insert); err == nil {
		o.t.Error("a row is there twice")
	}
	return db
}

// crashMySQL breaks the server in the middle of a statement, which it writes down before it ends.
func (o *operations) crashMySQL(db *sql.DB, statement string) {
	o.crash(func(ctx context.Context) error {
		_, err := db.ExecContext(ctx, "SELECT SLEEP(60), '"+statement+"'")
		return err
	})
}

func (o *operations) crashRedis(row, statement string) {
	c := o.store.redis(o.login)
	defer func() { _ = c.Close() }()
	if err := c.Set(o.t.Context(), "canary", row, 0).Err(); err != nil {
		o.t.Fatal(err)
	}
	o.crash(func(ctx context.Context) error {
		return c.Eval(ctx, "while true do redis.call('GET', 'canary') end -- "+statement, nil).Err()
	})
}

// crash breaks the server while it does what ask wants, and waits until it runs again.
func (o *operations) crash(ask func(context.Context) error) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), lifeTimeout)
	defer cancel()
	server, asked := o.serverPID(), make(chan error, 1)
	go func() { asked <- ask(ctx) }()
	until.True(o.t, lifeTimeout, "the server works", func() bool {
		select {
		case err := <-asked:
			o.t.Fatalf("a statement ended before the server broke: %v", err)
		default:
		}
		return o.working(ctx)
	})
	if err := syscall.Kill(server, syscall.SIGSEGV); err != nil {
		o.t.Fatal(err)
	}
	if err := <-asked; err == nil {
		o.t.Error("a statement ended well in a server that broke")
	}
	until.True(o.t, lifeTimeout, "the server was started again", func() bool {
		o.shown()
		pid := o.serverPID()
		_, err := o.store.read(ctx, o.login)
		return pid != 0 && pid != server && err == nil && o.member.Want(o.t, 200, http.MethodGet, gatewaytest.Instance(o.id), "").Text("instance", "operating_status") == "HEALTHY"
	})
}

// inTheWay deletes a database in which a session holds a table in the middle of a transaction.
func (o *operations) inTheWay(statement string) {
	db := o.begin()
	tx, err := db.Begin()
	if err != nil {
		o.t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.Exec("INSERT INTO canary VALUES ('" + statement + "')"); err != nil {
		o.t.Fatal(err)
	}
	a := o.member.Do(o.t, http.MethodDelete, gatewaytest.Instance(o.id)+"/databases/orders", "")
	if found := o.rows.searcher().in(a.Body, ""); len(found) > 0 {
		o.t.Errorf("the answer %d to a deletion holds %s", a.Status, strings.Join(found, ", "))
	}
	o.t.Logf("%s, a session in the way of a deletion: %d %s", o.store, a.Status, a.Body)
}

// begin opens the tenant's database and asks.
func (o *operations) begin(statements ...string) *sql.DB {
	o.t.Helper()
	db, err := o.store.sql(o.login)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { _ = db.Close() })
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			o.t.Fatal(err)
		}
	}
	return db
}

func (o *operations) serverPID() int { return o.machine.serverPID(o.id) }

// working reports whether the server is in the middle of a statement that sleeps, or of a script.
func (o *operations) working(ctx context.Context) bool {
	if o.store == redisStore {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		c := o.store.redis(o.login)
		defer func() { _ = c.Close() }()
		return c.Ping(ctx).Err() != nil
	}
	db, err := o.store.sql(o.login)
	if err != nil {
		return false
	}
	defer func() { _ = db.Close() }()
	n := 0
	return db.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'").Scan(&n) == nil && n > 0
}
