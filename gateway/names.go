package gateway

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

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

// checkName holds a name against the datastore's rule: the manager checks and quotes all the same, but a name that it
// would refuse should be a 400 before anything is sent.
func checkName(what, name, pattern string) error {
	plain := name != "" && len(name) <= 255 && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
	if plain && pattern != "" {
		plain = regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString(name) // definitions with a bad pattern are not offered
	}
	if plain {
		return nil
	}
	if pattern == "" {
		return faultf(badRequest, "The %s %q is not valid; want 1 to 255 bytes without control characters.", what, name)
	}
	return faultf(badRequest, "The %s %q is not valid; it must match %s.", what, name, pattern)
}

// checkDatabases turns a list of databases into the guest's, refusing bad, reserved and repeated names.
func checkDatabases(bodies []databaseBody, rules nameRules) ([]datastores.Database, error) {
	var dbs []datastores.Database
	for _, b := range bodies {
		if err := checkDatabase(b.Name, rules); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(dbs, func(d datastores.Database) bool { return d.Name == b.Name }) {
			return nil, faultf(badRequest, "The database %q is named twice.", b.Name)
		}
		dbs = append(dbs, datastores.Database{Name: b.Name, CharacterSet: b.CharacterSet, Collate: b.Collate})
	}
	return dbs, nil
}

func checkDatabase(name string, rules nameRules) error {
	if slices.Contains(rules.reserved.IgnoreDBs, name) {
		return faultf(badRequest, "The database name %q is reserved.", name)
	}
	return checkName("database name", name, rules.Database)
}

// checkUsers turns a list of users into the guest's.
func checkUsers(bodies []userBody, rules nameRules) ([]datastores.User, error) {
	var users []datastores.User
	for _, b := range bodies {
		host := b.Host
		if host == "" {
			host = anyHost
		}
		if err := checkUser(b.Name, host, rules); err != nil {
			return nil, err
		}
		if err := checkPassword(b.Name, b.Password, rules); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(users, func(u datastores.User) bool { return u.Name == b.Name && u.Host == host }) {
			return nil, faultf(badRequest, "The user %s@%s is named twice.", b.Name, host)
		}
		u := datastores.User{Name: b.Name, Host: host, Password: datastores.NewSecret(b.Password).ForSealing()}
		for _, db := range b.Databases {
			if err := checkDatabase(db.Name, rules); err != nil {
				return nil, err
			}
			u.Databases = append(u.Databases, datastores.Database{Name: db.Name})
		}
		users = append(users, u)
	}
	return users, nil
}

func checkUser(name, host string, rules nameRules) error {
	if slices.Contains(rules.reserved.IgnoreUsers, name) {
		return faultf(badRequest, "The user name %q is reserved.", name)
	}
	if err := checkName("user name", name, rules.User); err != nil {
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

// splitUser reads name@host off a path: the last @ divides; without one, or with nothing after it, any host is meant.
func splitUser(s string) (name, host string) {
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return s, anyHost
	}
	if s[i+1:] == "" {
		return s[:i], anyHost
	}
	return s[:i], s[i+1:]
}
