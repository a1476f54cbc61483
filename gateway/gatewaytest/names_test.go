package gatewaytest_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// fromHell is what somebody could try as a name of anything, or a password.
var fromHell = []string{
	"", " ", ".", "..", "%", "_", "-", "*", "@", "''", "\\", "`", "\x00", "\n", "a\nb", "a\x00b", "a\tb", "a\x7fb", "\u0085",
	"-leading", "--defaults-file=x", "trailing ", " leading", "in side", "a#b", "a?b", "a@b", "a@", "@b", "a/b", "a\\b", "a`b", "a'b", `a"b`, "a;b", "a,b", "a%b", "a.b", "a_b",
	"../../etc", "/etc/passwd", "..%2f..%2fetc", "%2e%2e", "%00", "a%00b", "$(id)", "`id`", "${HOME}", "{{.}}", "%s%s%n", "\\'; --",
	"'; DROP DATABASE keep; --", "`; DROP DATABASE `keep", "x` CHARACTER SET latin1 -- ", "\" OR 1=1", "keep\x00", "KEEP",
	"bob@10.0.0.%", "naïve", "数据库", "Ω≈ç√", "e\u0301", "\u202eevil", "\u200b", "😀", "a😀", "\ufeff", "\ufffd", "NULL", "null", "true", "0", "1e3", "select",
	"mysql", "information_schema", "MYSQL", "Mysql ", "sys", "root", "os_admin", "ROOT", "PUBLIC", "#mysql50#x", "lost+found", "#sql-1",
	strings.Repeat("a", 64), strings.Repeat("a", 65), strings.Repeat("é", 32), strings.Repeat("é", 33), strings.Repeat("a", 300), strings.Repeat("a", 1<<16),
}

// testNames tries them all, as names of databases, of users, of hosts, and as passwords. Each is made exactly as it is, or
// refused with 400; and nothing else happens to the server.
func testNames(t *testing.T, s *stage) {
	_, id, address := s.create(t, mariadbStore, `,"databases":[{"name":"keep"}],"users":[{"name":"keeper","password":"keeper's own","databases":[{"name":"keep"}]}]`)
	n := hell{t, s.member, gatewaytest.Instance(id), address, s.inside(t, id)}
	n.client.Want(t, http.StatusOK, http.MethodPost, n.at+"/root", "")
	n.client.Want(t, http.StatusNoContent, http.MethodDelete, n.at+"/root", "") // the account stays, without a way in
	before := n.state()
	n.databases()
	n.users()
	n.hosts()
	n.passwords()
	n.paths()
	s.redisPasswords(t)
	if after := n.state(); !slices.Equal(before, after) {
		t.Errorf("the server has changed: before\n%q\nafter\n%q", before, after)
	}
	if err := openMySQL(t, address, "keeper", "keeper's own", "keep").Ping(); err != nil {
		t.Errorf("keeper cannot connect any more: %v", err)
	}
}

type hell struct {
	t       *testing.T
	client  gatewaytest.Client
	at      string // path of the instance
	address string
	inside  *sql.DB
}

// state is every database, account and right of the server.
func (n hell) state() []string {
	n.t.Helper()
	var all []string
	for _, query := range []string{
		"SELECT CONCAT('database ', SCHEMA_NAME) FROM information_schema.SCHEMATA ORDER BY 1",
		"SELECT CONCAT('user ', User, '@', Host) FROM mysql.user ORDER BY 1",
		"SELECT CONCAT('right ', User, '@', Host, ' ', Db) FROM mysql.db ORDER BY 1",
	} {
		rows, err := column(n.inside, query)
		if err != nil {
			n.t.Fatal(err)
		}
		all = append(all, rows...)
	}
	return all
}

// made reports whether a request was granted. It must else be refused with 400, in Trove's envelope.
func (n hell) made(method, path, body string) bool {
	n.t.Helper()
	a := n.client.Do(n.t, method, n.at+path, body)
	if a.Status != http.StatusAccepted && (a.Status != http.StatusBadRequest || a.Text("badRequest", "message") == "") {
		n.t.Errorf("%s %.80s with %.120s: %d: %.300s; want 202 or 400", method, path, body, a.Status, a.Body)
	}
	return a.Status == http.StatusAccepted
}

// count is the answer to a question that the server is asked directly.
func (n hell) count(query string, args ...any) (count int) {
	n.t.Helper()
	if err := n.inside.QueryRow(query, args...).Scan(&count); err != nil {
		n.t.Fatal(err)
	}
	return count
}

// connect reports whether a tenant can, and leaves the connection to the next.
func (n hell) connect(user, password, database string) error {
	db := openMySQL(n.t, n.address, user, password, database)
	defer db.Close()
	return db.Ping()
}

func (n hell) databases() {
	var made []string
	for _, name := range fromHell {
		if !n.made(http.MethodPost, "/databases", `{"databases":[{"name":`+quoted(name)+`}]}`) {
			continue
		}
		made = append(made, name)
		if n.count("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE BINARY SCHEMA_NAME = ?", name) != 1 {
			n.t.Errorf("there is no database %q", name)
		}
	}
	if got := n.pages("databases"); !slices.Equal(got, sorted(append(made, "keep"))) {
		n.t.Errorf("the databases are listed as\n%q, want\n%q", got, made)
	}
	for _, name := range made {
		n.client.Want(n.t, http.StatusAccepted, http.MethodDelete, n.at+"/databases/"+url.PathEscape(name), "")
	}
	for _, of := range []string{`"character_set":%s`, `"character_set":"utf8","collate":%s`} {
		for _, name := range fromHell[1:] { // the empty one is the default
			if n.made(http.MethodPost, "/databases", fmt.Sprintf(`{"databases":[{"name":"charset",`+of+`}]}`, quoted(name))) {
				n.t.Errorf("%s of %q was taken", of, name)
			}
		}
	}
	n.some("databases", len(made))
}

func (n hell) users() {
	var made []string
	for _, name := range fromHell {
		if !n.made(http.MethodPost, "/users", `{"users":[{"name":`+quoted(name)+`,"password":"of hell","databases":[{"name":"keep"}]}]}`) {
			continue
		}
		made = append(made, name)
		if n.count("SELECT COUNT(*) FROM mysql.user WHERE BINARY User = ? AND Host = '%'", name) != 1 {
			n.t.Errorf("there is no user %q", name)
		}
		if err := n.connect(name, "of hell", "keep"); err != nil {
			n.t.Errorf("user %q cannot connect: %v", name, err)
		}
		path := n.at + "/users/" + url.PathEscape(name+"@%")
		if got := n.client.Want(n.t, http.StatusOK, http.MethodGet, path, "").Text("user", "name"); got != name {
			n.t.Errorf("user %q is shown as %q", name, got)
		}
		n.client.Want(n.t, http.StatusAccepted, http.MethodDelete, path+"/databases/keep", "")
	}
	if got := n.pages("users"); !slices.Equal(got, sorted(append(made, "keeper"))) {
		n.t.Errorf("the users are listed as\n%q, want\n%q", got, made)
	}
	for _, name := range made {
		n.client.Want(n.t, http.StatusAccepted, http.MethodDelete, n.at+"/users/"+url.PathEscape(name+"@%"), "")
	}
	n.some("users", len(made))
}

func (n hell) hosts() {
	hosts := append([]string{
		"10.0.0.%", "10.%", "%.0.0.1", "1.2.3.4", "256.1.1.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "::1", "localhost", "a.b.c", "%%", "10.0.0.0/255.0.0.0", "10.0.0._",
	}, fromHell...)
	made := 0
	for _, host := range hosts {
		if host == "" || !n.made(http.MethodPost, "/users", `{"users":[{"name":"guest","host":`+quoted(host)+`,"password":"of hell"}]}`) {
			continue
		}
		made++
		if n.count("SELECT COUNT(*) FROM mysql.user WHERE User = 'guest' AND BINARY Host = ?", host) != 1 {
			n.t.Errorf("there is no user of host %q", host)
		}
		n.client.Want(n.t, http.StatusAccepted, http.MethodDelete, n.at+"/users/"+url.PathEscape("guest@"+host), "")
	}
	n.some("hosts", made)
}

func (n hell) passwords() {
	made := 0
	for _, password := range fromHell {
		if n.made(http.MethodPost, "/users", `{"users":[{"name":"secretive","password":`+quoted(password)+`}]}`) {
			made++
			if err := n.connect("secretive", password, ""); err != nil {
				n.t.Errorf("nobody can connect with %.80q: %v", password, err)
			}
			if !n.made(http.MethodPut, "/users/secretive", `{"user":{"password":`+quoted(password+"2")+`}}`) {
				n.t.Errorf("password %q can be made, but not changed to", password+"2")
			} else if err := n.connect("secretive", password+"2", ""); err != nil {
				n.t.Errorf("nobody can connect with %.80q: %v", password+"2", err)
			}
			n.client.Want(n.t, http.StatusAccepted, http.MethodDelete, n.at+"/users/secretive", "")
		}
		if a := n.client.Do(n.t, http.MethodPost, n.at+"/root", `{"password":`+quoted(password)+`}`); a.Status == http.StatusOK {
			if err := n.connect("root", password, ""); err != nil {
				n.t.Errorf("root cannot connect with %.80q: %v", password, err)
			}
		} else if a.Status != http.StatusBadRequest {
			n.t.Errorf("root with %.80q: %d: %.300s", password, a.Status, a.Body)
		}
	}
	n.some("passwords", made)
	n.client.Want(n.t, http.StatusNoContent, http.MethodDelete, n.at+"/root", "")
}

// redisPasswords tries them as passwords of a Redis.
func (s *stage) redisPasswords(t *testing.T) {
	_, id, address := s.create(t, redisStore, "")
	made := 0
	for _, password := range fromHell {
		a := s.member.Do(t, http.MethodPost, gatewaytest.Instance(id)+"/root", `{"password":`+quoted(password)+`}`)
		switch a.Status {
		case http.StatusOK:
			made++
			db := openRedis(t, address, password)
			if err := db.Ping(t.Context()).Err(); err != nil {
				t.Errorf("nobody can connect to the Redis with %.80q: %v", password, err)
			}
			_ = db.Close()
		case http.StatusBadRequest:
		default:
			t.Errorf("root of the Redis with %.80q: %d: %.300s", password, a.Status, a.Body)
		}
	}
	t.Logf("%d of %d tried passwords of a Redis were made", made, len(fromHell))
}

// paths asks for each as a part of a path, escaped in two ways. There is nothing of that name: it must not be found,
// be refused, or not even be a path of ours.
func (n hell) paths() {
	all := func(s string) string { // every byte
		var b strings.Builder
		for i := range len(s) {
			fmt.Fprintf(&b, "%%%02x", s[i])
		}
		return b.String()
	}
	fine := []int{http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestHeaderFieldsTooLarge}
	for _, name := range fromHell {
		if name == "" || len(name) > 4096 {
			continue
		}
		for _, escaped := range []string{url.PathEscape(name), all(name)} {
			for _, try := range [][2]string{
				{http.MethodDelete, "/databases/" + escaped}, {http.MethodGet, "/users/" + escaped}, {http.MethodDelete, "/users/" + escaped + "%40%25"},
				{http.MethodGet, "/users/keeper%40" + escaped}, {http.MethodGet, "/users/" + escaped + "/databases"}, {http.MethodDelete, "/users/keeper/databases/" + escaped},
			} {
				a, err := n.client.Try(try[0], n.at+try[1], "")
				if err != nil {
					n.t.Errorf("%s %.100s: %v", try[0], try[1], err)
				}
				if !slices.Contains(fine, a.Status) && !n.keeper(try, a) {
					n.t.Errorf("%s %.100s: %d: %.300s", try[0], try[1], a.Status, a.Body)
				}
			}
		}
	}
	// A user with a host, in all that a client may make of it; a name that reads as one with a host cannot be made.
	n.client.Want(n.t, http.StatusBadRequest, http.MethodPost, n.at+"/users", `{"users":[{"name":"bob@10.0.0.%","password":"of hell"}]}`)
	n.client.Want(n.t, http.StatusAccepted, http.MethodPost, n.at+"/users", `{"users":[{"name":"bob","host":"1.2.3.4","password":"of hell"}]}`)
	for path, want := range map[string]string{
		"bob%401.2.3.4": "bob", "bob@1.2.3.4": "bob", "bob%401%2e2%2e3%2e4": "bob", "%62%6f%62%401.2.3.4": "bob",
	} {
		if got := n.client.Want(n.t, http.StatusOK, http.MethodGet, n.at+"/users/"+path, "").Text("user", "name"); got != want {
			n.t.Errorf("GET users/%s shows %q, want %q", path, got, want)
		}
	}
	n.client.Want(n.t, http.StatusNotFound, http.MethodGet, n.at+"/users/bob%4010.0.0.%25", "")
	n.client.Want(n.t, http.StatusAccepted, http.MethodDelete, n.at+"/users/bob%401.2.3.4", "")
}

// keeper reports whether a request was for the one user that there is: by its host, which is any.
func (n hell) keeper(try [2]string, a gatewaytest.Answer) bool {
	return a.Status == http.StatusOK && try[0] == http.MethodGet && a.Text("user", "name") == "keeper" && a.Text("user", "host") == "%"
}

// some sees to it that not everything is refused.
func (n hell) some(what string, made int) {
	n.t.Helper()
	n.t.Logf("%d of %d tried %s were made", made, len(fromHell), what)
	if made < 3 {
		n.t.Errorf("only %d of the %s were made", made, what)
	}
}

// pages goes through a list with one name on each page, once by the link itself and once by its marker alone, as it was read, and
// returns the names in their order.
func (n hell) pages(list string) []string {
	n.t.Helper()
	linked := n.follow(list, func(link *url.URL) string { return link.RawQuery })
	marked := n.follow(list, func(link *url.URL) string { return "limit=1&marker=" + link.Query().Get("marker") })
	if !slices.Equal(linked, marked) {
		n.t.Errorf("by links there are the %s\n%q, by markers\n%q", list, linked, marked)
	}
	return linked
}

func (n hell) follow(list string, query func(*url.URL) string) (names []string) {
	n.t.Helper()
	for next := "limit=1"; next != ""; {
		a := n.client.Want(n.t, http.StatusOK, http.MethodGet, n.at+"/"+list+"?"+next, "")
		if names = append(names, a.Text(list, 0, "name")); len(names) > len(fromHell)+1 {
			n.t.Fatalf("paging does not end: %q", names)
		}
		href := a.Text("links", 0, "href")
		if next = ""; href != "" {
			link, err := url.Parse(href)
			if err != nil {
				n.t.Fatal(err)
			}
			next = query(link)
		}
	}
	return sorted(names)
}

func sorted(names []string) []string { return slices.Sorted(slices.Values(names)) }
