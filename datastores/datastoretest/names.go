package datastoretest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// hostile are names and passwords that a careless manager interprets: as SQL, as a pattern, as a path, as an option.
func hostile() []string {
	return []string{
		"", " ", "a", "A", "two words", " leading", "trailing ", "new\nline", "tab\tbed", "zero\x00byte", "bell\a",
		"quo'te", `quo"te`, "quo`te", `back\slash`, `back\'quote`, "semi;colon", "com--ment", "com/*ment*/", "com#ment",
		"x'; DROP DATABASE canary; -- ", "x`; DROP DATABASE canary; -- ", `x"; DROP DATABASE canary; -- `,
		"x' OR '1'='1", "%", "_", "canar_", "canar%", "*", "?", "[a]", "~", "#", ">x", "+@all", "-option", "--help",
		"../../canary", "/etc/passwd", ".", "..", "a.b", "a/b", "a@b", "a@%", "a:b", "a,b", "a=b", "$(id)", "${HOME}", "`id`",
		"null", "select", "PUBLIC", "information_schema", "DROP", "x' UNION SELECT 1 --", "x'||'y", "$1", "?1", ":name", "@@version", "$$body$$", "E'\\x41'",
		"%s%n", "%00", "%2e%2e%2f", "&amp;", "<script>", "\\u0000", "\u007f", "\x1b[31m", "\r", "\r\nSET x y\r\n", "*3\r\n$3\r\nDEL",
		"-", "--", "-u root", "-e", "@file", "|id", "a&&b", "a>b", "a\u00a0b", "a\u200bb", "\ufeffx", "\u2028", "ﬀ", "İ", "ß", "K",
		"ünïcode", "日本", "😀", "\u202egnp", "e\u0301", "\xff\xfe", "a\xc3", "\xed\xa0\x80", strings.Repeat("é", 32), strings.Repeat("😀", 40),
		strings.Repeat("n", 63), strings.Repeat("n", 64), strings.Repeat("n", 65), strings.Repeat("'", 64), strings.Repeat("n", 300),
	}
}

// createDatabase makes a database as the guest runtime does: a name that the manager's rules refuse never comes to it.
func (s *server) createDatabase(ctx context.Context, name string) error {
	if err := datastores.RulesOf(s.manager).CheckDatabase(name); err != nil {
		return err
	}
	return s.manager.(datastores.Databases).CreateDatabase(ctx, datastores.Database{Name: name})
}

// createUser is createDatabase for users.
func (s *server) createUser(ctx context.Context, u datastores.User) error {
	rules := datastores.RulesOf(s.manager)
	if err := rules.CheckUser(u.Name, u.Host); err != nil {
		return err
	}
	if err := rules.CheckPassword(u.Name, u.Password); err != nil {
		return err
	}
	return s.manager.(datastores.Users).CreateUser(ctx, u)
}

// testDatabaseNames makes a database of each hostile name: it must be there verbatim, or be refused as Invalid, and
// nothing else may happen.
func testDatabaseNames(t *testing.T, s *server) {
	m, ctx := s.manager.(datastores.Databases), t.Context()
	s.withDatabase(t, "canary")
	before := databaseNames(t, m)
	for _, name := range hostile() {
		err := s.createDatabase(ctx, name)
		if isInvalid(err) {
			wantUnchanged(t, "refusing", name, before, databaseNames(t, m))
			continue
		}
		if err != nil {
			t.Errorf("create %q = %v, want it made or refused as invalid", name, err)
			continue
		}
		wantUnchanged(t, "creating", name, sorted(append(slices.Clone(before), name)), databaseNames(t, m))
		if err := m.DeleteDatabase(ctx, name); err != nil {
			t.Errorf("delete %q: %v", name, err)
		}
		wantUnchanged(t, "deleting", name, before, databaseNames(t, m))
	}
}

// testUserNames is testDatabaseNames for users; a user that was made must be able to log in.
func testUserNames(t *testing.T, s *server) {
	m, ctx := s.manager.(datastores.Users), t.Context()
	databases := s.withDatabase(t, "canary")
	before := userNames(t, m)
	for _, name := range hostile() {
		err := s.createUser(ctx, datastores.User{Name: name, Password: datastores.NewSecret("pass"), Databases: databases})
		if isInvalid(err) {
			wantUnchanged(t, "refusing", name, before, userNames(t, m))
			continue
		}
		if err != nil {
			t.Errorf("create %q = %v, want it made or refused as invalid", name, err)
			continue
		}
		wantUnchanged(t, "creating", name, sorted(append(slices.Clone(before), name)), userNames(t, m))
		s.letsIn(t, name, "pass", databases.first())
		if err := m.DeleteUser(ctx, name, "%"); err != nil {
			t.Errorf("delete %q: %v", name, err)
		}
		wantUnchanged(t, "deleting", name, before, userNames(t, m))
	}
}

// testPasswords gives a user each hostile text as password: it must work verbatim, or be refused as Invalid.
func testPasswords(t *testing.T, s *server) {
	m, ctx := s.manager.(datastores.Users), t.Context()
	databases := s.withDatabase(t, "canary")
	for _, password := range hostile() {
		if password == "" {
			continue // an empty Secret means that none was given
		}
		err := s.createUser(ctx, datastores.User{Name: "ann", Password: datastores.NewSecret(password), Databases: databases})
		if isInvalid(err) {
			continue
		}
		if err != nil {
			t.Errorf("password %q = %v, want it taken or refused as invalid", password, err)
			continue
		}
		s.letsIn(t, "ann", password, databases.first())
		s.keepsOut(t, "ann", password+"x", databases.first())
		s.must(t, "delete", m.DeleteUser(ctx, "ann", "%"))
	}
}

func wantNames(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func wantUnchanged(t *testing.T, doing, name string, want, got []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("after %s %q there are %q, want %q", doing, name, got, want)
	}
}

func isInvalid(err error) bool {
	var e *datastores.Error
	return errors.As(err, &e) && e.Kind == datastores.Invalid
}

func databaseNames(t *testing.T, m datastores.Databases) []string {
	t.Helper()
	list, err := m.ListDatabases(t.Context())
	if err != nil {
		t.Fatalf("list databases: %v", err)
	}
	return names(list)
}

func userNames(t *testing.T, m datastores.Users) []string {
	t.Helper()
	list, err := m.ListUsers(t.Context())
	if err != nil {
		t.Fatalf("list users: %v", err)
	}
	var all []string
	for _, u := range list {
		if !u.Password.IsZero() {
			t.Errorf("the list holds a password of %q", u.Name)
		}
		all = append(all, u.Name)
	}
	return sorted(all)
}

func names(list []datastores.Database) []string {
	var all []string
	for _, db := range list {
		all = append(all, db.Name)
	}
	return sorted(all)
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

// withoutCancel is for a cleanup, where the test's own context has ended.
func withoutCancel(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }
