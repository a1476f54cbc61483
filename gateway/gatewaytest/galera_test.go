package gatewaytest_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestMariaDBCluster makes a cluster of real servers in sandboxes, which speak TLS to each other. A client writes numbered rows while all
// members get a parameter, one after the other, and restart, while one comes and one leaves, and while all are killed. What was
// acknowledged every member has.
func TestMariaDBCluster(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	tenant := s.member
	const member = `{"flavorRef":1,"volume":{"size":1}}`
	made := tenant.Want(t, http.StatusOK, http.MethodPost, "/clusters", `{"cluster":{"name":"shop","datastore":{"type":"mariadb"},"instances":[`+strings.Join([]string{member, member, member}, ",")+`]}}`)
	c := &realCluster{T: t, stage: s, tenant: tenant, at: "/clusters/" + made.Text("cluster", "id"), owned: map[string]bool{}}
	t.Cleanup(func() { awaitNoCluster(t, tenant, c.at) })
	c.settle(3)
	tenant.Want(t, http.StatusAccepted, http.MethodPost, gatewaytest.Instance(c.ids[0])+"/databases", `{"databases":[{"name":"shop"}]}`)
	tenant.Want(t, http.StatusAccepted, http.MethodPost, gatewaytest.Instance(c.ids[1])+"/users", `{"users":[{"name":"ann","password":"annsOwnPassword","databases":[{"name":"shop"}]}]}`)
	s.secrets.know("a user's password", "annsOwnPassword")
	root := tenant.Want(t, http.StatusOK, http.MethodPost, c.at+"/root", "{}")
	s.secrets.know("root of the cluster", root.Text("user", "password"))
	for _, address := range c.addresses {
		db := openMySQL(t, address, root.Text("user", "name"), root.Text("user", "password"), "shop")
		until.True(t, lifeTimeout, "root is let in at "+address, func() bool { return db.Ping() == nil })
	}
	if _, err := openMySQL(t, c.addresses[2], "ann", "annsOwnPassword", "shop").Exec("CREATE TABLE sold (n INT PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	group := tenant.Want(t, http.StatusOK, http.MethodPost, "/configurations", `{"configuration":{"name":"more","values":{"long_query_time":2,"innodb_buffer_pool_size":67108864},"datastore":{"type":"mariadb","version":"10.11"}}}`)

	for _, part := range []struct {
		what string
		do   func()
	}{
		{"all get a parameter", func() {
			c.acts(fmt.Sprintf(`{"configuration_attach":{"configuration_id":%q}}`, group.Text("configuration", "id")), 3)
		}},
		{"all restart", func() { c.acts(`{"restart":{}}`, 3) }},
		{"one comes and one leaves", func() {
			first := c.ids[0]
			c.acts(`{"grow":[`+member+`]}`, 4)
			c.acts(fmt.Sprintf(`{"shrink":[{"id":%q}]}`, first), 3)
		}},
		{"all are killed", c.killAll},
	} {
		w := c.sell(part.what)
		part.do()
		w.end(t, c)
	}
	c.beginsAnew()
}

// beginsAnew has another cluster, of one member fewer, begin with a backup of this one. It has what was there then, and no more; this one stays as it is.
func (c *realCluster) beginsAnew() {
	c.Helper()
	ann := func(address string) *sql.DB { return openMySQL(c.T, address, "ann", "annsOwnPassword", "shop") }
	if _, err := ann(c.addresses[0]).Exec("INSERT INTO sold VALUES (1), (2)"); err != nil {
		c.Fatal(err)
	}
	c.backup("shop", "nightly")
	if _, err := ann(c.addresses[1]).Exec("INSERT INTO sold VALUES (3)"); err != nil {
		c.Fatal(err)
	}
	made := c.coffer("cluster", "create", "again", "--datastore", "mariadb", "--flavor", "1", "--size", "1", "--members", "2", "--backup", "nightly")
	other := &realCluster{T: c.T, stage: c.stage, tenant: c.tenant, at: "/clusters/" + made.Text("id"), owned: map[string]bool{}}
	c.Cleanup(func() { awaitNoCluster(c.T, c.tenant, other.at) })
	other.settle(2)
	c.settle(3)
	for address, want := range map[string]int{other.addresses[0]: 2, other.addresses[1]: 2, c.addresses[2]: 3} {
		n := 0
		if err := ann(address).QueryRow("SELECT COUNT(*) FROM sold").Scan(&n); err != nil || n != want {
			c.Errorf("at %s there are %d rows, want %d (%v)", address, n, want, err)
		}
	}
	if _, err := ann(other.addresses[1]).Exec("INSERT INTO sold VALUES (4)"); err != nil {
		c.Error(err)
	}
	c.coffer("backup", "delete", "nightly")
}

// killAll ends all servers at once, as the loss of power does, and waits until the guests have them well again.
func (c *realCluster) killAll() {
	c.Helper()
	for _, id := range c.ids {
		pid := c.stage.machine.serverPID(id)
		if pid == 0 {
			c.Fatalf("member %s has no server", id)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			c.Fatal(err)
		}
	}
	began := time.Now()
	for _, address := range c.addresses {
		db := openMySQL(c.T, address, "ann", "annsOwnPassword", "shop")
		until.True(c, 2*lifeTimeout, "member "+address+" is back", func() bool {
			ctx, cancel := context.WithTimeout(c.Context(), 2*time.Second)
			defer cancel()
			_, err := db.ExecContext(ctx, "DELETE FROM sold WHERE n < 0")
			return err == nil
		})
	}
	c.Logf("all servers are back after %s", time.Since(began).Round(time.Millisecond))
}

// seller writes numbered rows, one after the other, at the members of a cluster in turn, whichever take them.
type seller struct {
	what    string
	stop    context.CancelFunc
	ended   chan struct{}
	acked   int
	longest time.Duration // without a write
}

// sell starts a client of all members that there are now, of which it may lose some.
func (c *realCluster) sell(what string) *seller {
	c.Helper()
	ctx, stop := context.WithCancel(c.Context())
	w := &seller{what: what, stop: stop, ended: make(chan struct{})}
	var at []*sql.DB
	for _, address := range c.addresses {
		db := openMySQL(c.T, address, "ann", "annsOwnPassword", "shop")
		at = append(at, db)
	}
	go func() {
		defer close(w.ended)
		last := time.Now()
		for where := 0; ctx.Err() == nil; where++ {
			once, cancel := context.WithTimeout(ctx, 2*time.Second)
			_, err := at[where%len(at)].ExecContext(once, "INSERT INTO sold VALUES (?) ON DUPLICATE KEY UPDATE n = n", w.acked+1)
			cancel()
			if err == nil {
				w.acked++
				w.longest, last = max(w.longest, time.Since(last)), time.Now()
			}
			service.Pause(ctx, 10*time.Millisecond)
		}
	}()
	return w
}

// end stops the client, and wants every row that was acknowledged at each member.
func (w *seller) end(t *testing.T, c *realCluster) {
	t.Helper()
	w.stop()
	<-w.ended
	t.Logf("%s: %d rows, at most %s without a write", w.what, w.acked, w.longest.Round(time.Millisecond))
	if w.acked == 0 {
		t.Errorf("%s: nothing was written", w.what)
	}
	for _, address := range c.addresses {
		db := openMySQL(t, address, "ann", "annsOwnPassword", "shop")
		db.SetMaxOpenConns(1)
		var n int
		if _, err := db.Exec("SET SESSION wsrep_sync_wait = 1"); err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRow("SELECT COUNT(*) FROM sold WHERE n <= ?", w.acked).Scan(&n); err != nil || n != w.acked {
			t.Errorf("%s: member %s has %d of %d rows (%v)", w.what, address, n, w.acked, err)
		}
	}
	if _, err := openMySQL(t, c.addresses[0], "ann", "annsOwnPassword", "shop").Exec("DELETE FROM sold"); err != nil {
		t.Fatal(err)
	}
}
