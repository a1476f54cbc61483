package influxdb

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/datastores/service"
)

func harness() datastoretest.Harness {
	return datastoretest.Harness{
		Plugin: Plugin(),
		NewEnv: newEnv,
		Connect: func(ctx context.Context, address, user, password, database string) error {
			s, err := login(ctx, datastoretest.Login{Address: address, User: user, Password: password, Database: database})
			if err != nil {
				return err
			}
			return errors.Join(s.Ask(ctx), s.Close())
		},
		Session:        login,
		Write:          write,
		Digest:         digest,
		Kinds:          kinds(),
		FewConnections: datastores.Values{"http.max-connection-limit": json.Number("20")},
		Static: datastores.Values{
			"coordinator.query-timeout": "1m30s", "http.max-row-limit": json.Number("1000"), "data.max-values-per-tag": json.Number("5000"),
		},
		Show: func(ctx context.Context, m datastores.Manager, parameter string) (string, error) {
			values, err := m.(*Manager).runningSettings(ctx)
			return values[parameter], err
		},
		Kill: kill,
		Exceptions: []datastoretest.Exception{{
			Test: "process/sockets", Reason: "the port for backups knows no accounts: hosts close it, but not to their own programs; see TestPrivatePort",
		}},
	}
}

func newEnv(t *testing.T) datastores.Env {
	datastoretest.Require(t, DefaultOptions().Program, "influxdb")
	return datastoretest.NewEnv(t)
}

// client is a tenant's program: one connection, on which each request says again who asks.
type client struct {
	datastoretest.Login
	conn net.Conn
	r    *bufio.Reader
}

func login(ctx context.Context, l datastoretest.Login) (datastoretest.Session, error) {
	return connect(ctx, l)
}

func connect(ctx context.Context, l datastoretest.Login) (*client, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(l.Address, fmt.Sprint(port)))
	if err != nil {
		return nil, err
	}
	return &client{l, conn, bufio.NewReader(conn)}, nil
}

func (c *client) Close() error { return c.conn.Close() }

func (c *client) Ask(ctx context.Context) error {
	statement := "SHOW DATABASES" // anybody may who is let in
	if c.Database != "" {
		statement = "SHOW MEASUREMENTS"
	}
	_, err := c.query(ctx, statement)
	return err
}

func (c *client) query(ctx context.Context, statement string) ([]series, error) {
	resp, err := c.send(ctx, "/query", url.Values{"db": {c.Database}, "q": {statement}}, "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return readSeries(resp)
}

func (c *client) send(ctx context.Context, path string, values url.Values, body string) (*http.Response, error) {
	defer context.AfterFunc(ctx, func() { _ = c.conn.Close() })()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.Address+path+"?"+values.Encode(), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth(c.User, c.Password)
	if err := req.Write(c.conn); err != nil {
		return nil, err
	}
	return http.ReadResponse(c.r, req)
}

// write stores one point an item; one that is there is stored again.
func write(ctx context.Context, l datastoretest.Login, from, to int) (acknowledged int, err error) {
	c, err := connect(ctx, l)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	for n := from; n < to; n++ {
		if err := c.write(ctx, fmt.Sprintf("items,part=p%d value=%q %d", n%7, datastoretest.Item(n), 1767225600000000000+int64(n)*1000)); err != nil {
			return n - from, err
		}
	}
	return to - from, nil
}

func (c *client) write(ctx context.Context, points string) error {
	resp, err := c.send(ctx, "/write", url.Values{"db": {c.Database}}, points)
	if err != nil {
		return err
	}
	if answer, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("%s: %s (%w)", resp.Status, answer, err)
	}
	return nil
}

// kinds are the ways in which a tenant has something stored or taken away. Their field is not that of items: of one name and two types
// a query over all measurements returns one.
func kinds() []datastoretest.WriteKind {
	kind := func(name, points, statement, want string) datastoretest.WriteKind {
		fill := func(s string, round int) string { return strings.ReplaceAll(s, "ROUND", fmt.Sprint("r", round)) }
		return datastoretest.WriteKind{
			Name: name,
			Write: func(ctx context.Context, s datastoretest.Session, round int) error {
				c := s.(*client)
				if err := c.write(ctx, fill(points, round)); err != nil || statement == "" {
					return err
				}
				_, err := c.query(ctx, fill(statement, round))
				return err
			},
			Read: func(ctx context.Context, s datastoretest.Session, round int) error {
				all, err := s.(*client).query(ctx, fill("SELECT v FROM "+want, round))
				if err == nil && (len(all) != 1 || len(all[0].Values) != 1) {
					err = fmt.Errorf("%s has %v, want one point", name, all)
				}
				return err
			},
		}
	}
	return []datastoretest.WriteKind{
		kind("points at once", "one,round=ROUND v=1 1\ntwo,round=ROUND v=2 1", "", `two WHERE round = 'ROUND'`),
		kind("a statement that writes", "from,round=ROUND v=1 1", `SELECT v INTO "into_ROUND" FROM "from" WHERE round = 'ROUND'`, `"into_ROUND"`),
		kind("points taken away", "less,round=ROUND v=1 1\nless,round=ROUND v=2 2", `DELETE FROM less WHERE round = 'ROUND' AND time = 1`, `less WHERE round = 'ROUND'`),
		kind("a series taken away", "rest,round=ROUND,part=a v=1 1\nrest,round=ROUND,part=b v=2 1", `DROP SERIES FROM rest WHERE round = 'ROUND' AND part = 'a'`, `rest WHERE round = 'ROUND'`),
	}
}

func digest(ctx context.Context, l datastoretest.Login) (items int, sum string, err error) {
	c, err := connect(ctx, l)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = c.Close() }()
	all, err := c.query(ctx, `SELECT * FROM /.*/`)
	if err != nil {
		return 0, "", err
	}
	for _, s := range all {
		if s.Name == "items" {
			items += len(s.Values)
		}
	}
	return items, fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, all))), nil
}

func kill(ctx context.Context, env datastores.Env) error {
	return datastoretest.KillServer(ctx, New(env, DefaultOptions()).server)
}

func TestInfluxDB(t *testing.T) {
	t.Parallel()
	datastoretest.Run(t, harness())
}

// TestNobodyIsFirst: the server would let the first who comes make himself its administrator. It never starts without the guest's
// account, which has no password; and one that root has dropped is there again after a restart.
func TestNobodyIsFirst(t *testing.T) {
	t.Parallel()
	env, ctx := newEnv(t), t.Context()
	m := New(env, DefaultOptions())
	t.Cleanup(func() {
		if err := m.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := m.Prepare(ctx, datastores.PrepareRequest{Progress: func(string) {}}); err != nil {
		t.Fatal(err)
	}
	stranger := func(user string) error {
		c, err := connect(ctx, datastoretest.Login{Address: env.Address, User: user, Password: "*"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_, err = c.query(ctx, "CREATE USER eve WITH PASSWORD 'x' WITH ALL PRIVILEGES")
		return err
	}
	for _, user := range []string{"", "eve", adminUser} {
		if stranger(user) == nil {
			t.Fatalf("a stranger who says %q has become administrator", user)
		}
	}
	// Another administrator stays, or the server would be open: it is root that drops the account.
	if err := m.change(ctx, "CREATE USER root WITH PASSWORD 'x' WITH ALL PRIVILEGES", "DROP USER "+identifier(adminUser)); err != nil {
		t.Fatal(err)
	}
	var told *datastores.Error
	if err := m.ping(ctx); !errors.As(err, &told) || !strings.Contains(told.Message, "restart") {
		t.Errorf("without the guest's account: %v", err)
	}
	for _, err := range []error{m.Stop(ctx), m.Start(ctx)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if on, err := m.RootEnabled(ctx); err != nil || !on {
		t.Errorf("root after the restart: %t, %v", on, err)
	}
}

// TestPrivatePort: it is one that hosts do not open, and the guest comes from the instance's address, which they let in.
func TestPrivatePort(t *testing.T) {
	for _, ports := range Plugin().Manifest().Offers[0].Server.TCPPorts {
		if ports.First <= privatePort && privatePort <= ports.Last {
			t.Errorf("%v are opened to tenants", ports)
		}
	}
	if from := service.Dialer("127.0.0.9").LocalAddr.String(); from != "127.0.0.9:0" {
		t.Errorf("the guest comes from %s", from)
	}
}

func TestNamesOf(t *testing.T) {
	user := message(1, "ann") + message(2, "hash") + "\x18\x00"
	data := "\x08\x00\x10\x01" + message(databasesField, message(1, "shop")) + message(usersField, user)
	for field, want := range map[int]string{databasesField: "[shop]", usersField: "[ann]"} {
		if names, err := namesOf([]byte(data), field); err != nil || fmt.Sprint(names) != want {
			t.Errorf("field %d: %v, %v", field, names, err)
		}
	}
	for _, damaged := range []string{data[:len(data)-3], "\xff", "\x09\x00"} {
		if _, err := namesOf([]byte(damaged), usersField); err == nil {
			t.Errorf("%q is taken", damaged)
		}
	}
}
