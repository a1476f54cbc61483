package datastoretest

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/cofferdb/coffer/datastores"
)

// alike are names that somebody may take for one another: by case, by blanks at the end, by how a letter is written, by what
// a client writes for a host, by where a server cuts.
func alike() []string {
	return []string{
		"bob", "Bob", "BOB", "bob ", " bob", "bob@", "bob@%", "bob@10.0.0.1", "bob@example.com", "bob.", "bob%", "bob_", "bobx",
		"böb", "bo\u0308b", "BÖB", "b\u00f6b ", "strasse", "straße", "İb", "ib", "ıb",
		strings.Repeat("l", 30) + "a", strings.Repeat("l", 31) + "a", strings.Repeat("l", 31) + "b", strings.Repeat("l", 62) + "a",
		strings.Repeat("l", 63) + "a", strings.Repeat("l", 63) + "b", strings.Repeat("ö", 31), strings.Repeat("ö", 31) + "a", strings.Repeat("ö", 32),
	}
}

// few is how many characters of the printable ones the name of a database has: a database may take a second to make.
const few = 8

// printable are names with the printable characters of ASCII inside: of digits, capitals and small letters all in one, of the
// others so many in each.
func printable(each int) (names []string) {
	var others, alphanumeric []byte
	for c := byte(' '); c < 0x7f; c++ {
		if unicode.IsLetter(rune(c)) || unicode.IsDigit(rune(c)) {
			alphanumeric = append(alphanumeric, c)
		} else {
			others = append(others, c)
		}
	}
	for chunk := range slices.Chunk(others, each) {
		names = append(names, "p"+string(chunk)+"q")
	}
	for chunk := range slices.Chunk(alphanumeric, 26) {
		names = append(names, "p"+string(chunk)+"q")
	}
	return names
}

// testDatabasesAlike makes databases whose names are alike, all at once: each is there verbatim, or was refused as Invalid, or
// the server takes it for one that Exists. Then each is deleted and no other goes with it.
func testDatabasesAlike(t *testing.T, s *server) {
	m := s.manager.(datastores.Databases)
	before := databaseNames(t, m)
	made := s.makeAll(t, append(alike(), printable(few)...), before, func() []string { return databaseNames(t, m) }, func(name string) error {
		return s.createDatabase(s.within(t), name)
	})
	for i, name := range made {
		s.must(t, "delete "+name, m.DeleteDatabase(s.within(t), name))
		wantNames(t, "databases after deleting "+name, databaseNames(t, m), sorted(slices.Concat(before, made[i+1:])))
	}
}

// testUsersAlike is testDatabasesAlike for users, each with a password of its own. Each password is changed once: a change that
// went to another user leaves somebody with a password that is not the last one given.
func testUsersAlike(t *testing.T, s *server) {
	m := s.manager.(datastores.Users)
	database := s.withDatabase(t, "shop")
	before := userNames(t, m)
	made := s.makeAll(t, append(alike(), printable(1)...), before, func() []string { return userNames(t, m) }, func(name string) error {
		return s.createUser(s.within(t), datastores.User{Name: name, Password: datastores.NewSecret("of " + name), Databases: database})
	})
	for _, name := range made {
		s.letsIn(t, name, "of "+name, database.first())
		password := datastores.NewSecret("new of " + name)
		s.must(t, "change the password of "+name, m.UpdateUser(s.within(t), name, "%", datastores.UserChange{Password: password}))
	}
	for i, name := range made {
		u, err := m.GetUser(s.within(t), name, "%")
		if err != nil || u.Name != name {
			t.Errorf("get %q = %q, %v", name, u.Name, err)
		}
		s.letsIn(t, name, "new of "+name, database.first())
		if access, ok := m.(datastores.Access); ok && database.first() != "" {
			s.must(t, "revoke", access.RevokeAccess(s.within(t), name, "%", database.first()))
		}
		s.must(t, "delete "+name, m.DeleteUser(s.within(t), name, "%"))
		wantNames(t, "users after deleting "+name, userNames(t, m), sorted(slices.Concat(before, made[i+1:])))
	}
}

// makeAll makes all names that the server takes and returns them.
func (s *server) makeAll(t *testing.T, names, before []string, list func() []string, create func(string) error) (made []string) {
	t.Helper()
	for _, name := range names {
		switch err := create(name); {
		case err == nil:
			made = append(made, name)
		case isInvalid(err):
		default: // it is taken for one of the others
			wantKind(t, "create "+name, err, datastores.Exists)
		}
	}
	wantNames(t, "what was made", list(), sorted(slices.Concat(before, made)))
	return made
}
