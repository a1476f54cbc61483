package gateway

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// databaseBody and userBody are what clients send.
type databaseBody struct {
	Name         string `json:"name"`
	CharacterSet string `json:"character_set"`
	Collate      string `json:"collate"`
}

type userBody struct {
	Name      string         `json:"name"`
	Password  string         `json:"password"`
	Host      string         `json:"host"`
	Databases []databaseBody `json:"databases"`
}

// oneOrMore is a list, or as openstacksdk writes it the only item of one.
type oneOrMore[T any] []T

func (o *oneOrMore[T]) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		*o = make([]T, 1)
		return json.Unmarshal(b, &(*o)[0])
	}
	return json.Unmarshal(b, (*[]T)(o))
}

// nameRules are the names that tenants of an instance may choose: its datastore's patterns, and what is reserved.
type nameRules struct {
	datastores.NameRules
	reserved datastores.GuestOptions
}

// anyHost is the host of a user that may come from anywhere.
const anyHost = "%"

// checkName holds a name against the datastore's rule, as the guest will: what that would refuse should be a 400 before
// anything is sent.
func checkName(what, name, pattern string) error {
	if datastores.Fits(pattern, name) { // definitions with a bad pattern are not offered
		return nil
	}
	if pattern == "" {
		return faultf(badRequest, "The %s %q is not valid; want 1 to 255 bytes without control characters.", what, name)
	}
	return faultf(badRequest, "The %s %q is not valid; it must match %s.", what, name, pattern)
}

// checkDatabases turns a list of databases into the guest's, refusing bad, reserved and repeated names.
func checkDatabases(bodies []databaseBody, rules nameRules) ([]datastores.Database, error) {
	dbs := make([]datastores.Database, 0, len(bodies))
	seen := make(map[string]bool, len(bodies))
	for _, b := range bodies {
		if err := checkNewDatabase(b, rules); err != nil {
			return nil, err
		}
		if seen[b.Name] {
			return nil, faultf(badRequest, "The database %q is named twice.", b.Name)
		}
		seen[b.Name] = true
		dbs = append(dbs, datastores.Database{Name: b.Name, CharacterSet: b.CharacterSet, Collate: b.Collate})
	}
	return dbs, nil
}

// maxWord is how long the name of a character set or a collation may be, in bytes.
const maxWord = 64

func checkNewDatabase(b databaseBody, rules nameRules) error {
	if len(b.CharacterSet) > maxWord || len(b.Collate) > maxWord {
		return faultf(badRequest, "The character set or collation of database %q has more than %d bytes.", b.Name, maxWord)
	}
	if err := checkDatabase(b.Name, rules); err != nil {
		return err
	}
	if err := checkPrefix("database name", b.Name, rules); err != nil {
		return err
	}
	return checkName("database name", b.Name, rules.Database)
}

// checkPrefix refuses a new name that begins with what the datastore keeps for itself.
func checkPrefix(what, name string, rules nameRules) error {
	if prefix := rules.ReservedPrefix(name); prefix != "" {
		return faultf(badRequest, "The %s %q is reserved: it begins with %s.", what, name, prefix)
	}
	return nil
}

// checkDatabase holds the name of a database that may be there already against what no name may be: tenants make databases
// with the server's own means, too, of any name that it takes.
func checkDatabase(name string, rules nameRules) error {
	if slices.Contains(rules.reserved.IgnoreDBs, name) {
		return faultf(badRequest, "The database name %q is reserved.", name)
	}
	return checkName("database name", name, "")
}

// databaseNames checks the names of databases that must be there.
func databaseNames(bodies []databaseBody, rules nameRules) (names []string, err error) {
	for _, b := range bodies {
		if err := checkDatabase(b.Name, rules); err != nil {
			return nil, err
		}
		names = append(names, b.Name)
	}
	return names, nil
}

// checkUsers turns a list of users into the guest's. check holds a name and a host against the rules.
func checkUsers(bodies []userBody, rules nameRules, check func(name, host string, rules nameRules) error) ([]datastores.User, error) {
	users := make([]datastores.User, 0, len(bodies))
	type account struct{ name, host string }
	seen := make(map[account]bool, len(bodies))
	for _, b := range bodies {
		host := cmp.Or(b.Host, anyHost)
		if err := check(b.Name, host, rules); err != nil {
			return nil, err
		}
		if err := checkPassword(b.Name, b.Password, rules); err != nil {
			return nil, err
		}
		if seen[account{b.Name, host}] {
			return nil, faultf(badRequest, "The user %s@%s is named twice.", b.Name, host)
		}
		seen[account{b.Name, host}] = true
		u := datastores.User{Name: b.Name, Host: host, Password: datastores.NewSecret(b.Password).ForSealing()}
		names, err := databaseNames(b.Databases, rules)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			u.Databases = append(u.Databases, datastores.Database{Name: name})
		}
		users = append(users, u)
	}
	return users, nil
}

// checkNewUser holds the name and host of a user that is to be made against the datastore's rules. A name that reads as another
// name with a host is refused: nobody could tell the two users apart.
func checkNewUser(name, host string, rules nameRules) error {
	if err := checkUser(name, host, rules); err != nil {
		return err
	}
	if err := checkPrefix("user name", name, rules); err != nil {
		return err
	}
	if err := checkName("user name", name, rules.User); err != nil {
		return err
	}
	if other, itsHost, divided := divideUser(name, rules); divided {
		return faultf(badRequest, "The user name %q would read as user %q of host %q; choose another name, or send name and host apart.", name, other, itsHost)
	}
	return nil
}

// checkUser holds the name and host of a user that may be there already against what no name may be.
func checkUser(name, host string, rules nameRules) error {
	if slices.Contains(rules.reserved.IgnoreUsers, name) {
		return faultf(badRequest, "The user name %q is reserved.", name)
	}
	if err := checkName("user name", name, ""); err != nil {
		return err
	}
	return checkName("host of user "+name, host, rules.Host)
}

// checkPassword never repeats the password in its error.
func checkPassword(user, password string, rules nameRules) error {
	if checkName("", password, rules.Password) == nil {
		return nil
	}
	want := "1 to 255 bytes without control characters"
	if rules.Password != "" {
		want = "what matches " + rules.Password
	}
	return faultf(badRequest, "The password of user %q is not valid; want %s.", user, want)
}

// splitUser reads the user that a path names: name, or name@host. The last @ divides when what follows is a host of the
// datastore; of one whose users have no hosts that is "%" alone. Else all of it is the name.
func splitUser(s string, rules nameRules) (name, host string) {
	if name, host, divided := divideUser(s, rules); divided {
		return name, host
	}
	return s, anyHost
}

func divideUser(s string, rules nameRules) (name, host string, divided bool) {
	i := strings.LastIndexByte(s, '@')
	if i < 1 || checkName("host", s[i+1:], rules.Host) != nil {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}
