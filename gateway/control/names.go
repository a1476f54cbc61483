package control

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/limits"
)

// DatabaseBody and userBody are what clients send.
type DatabaseBody struct {
	Name         string `json:"name"`
	CharacterSet string `json:"character_set"`
	Collate      string `json:"collate"`
}

type UserBody struct {
	Name      string         `json:"name"`
	Password  string         `json:"password"`
	Host      string         `json:"host"`
	Databases []DatabaseBody `json:"databases"`
}

// NameRules are the names that tenants of an instance may choose: its datastore's patterns, and what is reserved.
type NameRules struct {
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
		return fault.Errorf(fault.BadRequest, "The %s %q is not valid; want 1 to 255 bytes without control characters.", what, name)
	}
	return fault.Errorf(fault.BadRequest, "The %s %q is not valid; it must match %s.", what, name, pattern)
}

// CheckDatabases turns a list of databases into the guest's, refusing bad, reserved and repeated names.
func CheckDatabases(bodies []DatabaseBody, rules NameRules) ([]datastores.Database, error) {
	dbs := make([]datastores.Database, 0, len(bodies))
	seen := make(map[string]bool, len(bodies))
	for _, b := range bodies {
		if err := checkNewDatabase(b, rules); err != nil {
			return nil, err
		}
		if seen[b.Name] {
			return nil, fault.Errorf(fault.BadRequest, "The database %q is named twice.", b.Name)
		}
		seen[b.Name] = true
		dbs = append(dbs, datastores.Database{Name: b.Name, CharacterSet: b.CharacterSet, Collate: b.Collate})
	}
	return dbs, nil
}

func checkNewDatabase(b DatabaseBody, rules NameRules) error {
	if len(b.CharacterSet) > limits.MaxWord || len(b.Collate) > limits.MaxWord {
		return fault.Errorf(fault.BadRequest, "The character set or collation of database %q has more than %d bytes.", b.Name, limits.MaxWord)
	}
	if err := CheckDatabase(b.Name, rules); err != nil {
		return err
	}
	if err := checkPrefix("database name", b.Name, rules); err != nil {
		return err
	}
	return checkName("database name", b.Name, rules.Database)
}

// checkPrefix refuses a new name that begins with what the datastore keeps for itself.
func checkPrefix(what, name string, rules NameRules) error {
	if prefix := rules.ReservedPrefix(name); prefix != "" {
		return fault.Errorf(fault.BadRequest, "The %s %q is reserved: it begins with %s.", what, name, prefix)
	}
	return nil
}

// CheckDatabase holds the name of a database that may be there already against what no name may be: tenants make databases
// with the server's own means, too, of any name that it takes.
func CheckDatabase(name string, rules NameRules) error {
	if slices.Contains(rules.reserved.IgnoreDBs, name) {
		return fault.Errorf(fault.BadRequest, "The database name %q is reserved.", name)
	}
	return checkName("database name", name, "")
}

// DatabaseNames checks the names of databases that must be there.
func DatabaseNames(bodies []DatabaseBody, rules NameRules) (names []string, err error) {
	for _, b := range bodies {
		if err := CheckDatabase(b.Name, rules); err != nil {
			return nil, err
		}
		names = append(names, b.Name)
	}
	return names, nil
}

// CheckUsers turns a list of users into the guest's. check holds a name and a host against the rules.
func CheckUsers(bodies []UserBody, rules NameRules, check func(name, host string, rules NameRules) error) ([]datastores.User, error) {
	users := make([]datastores.User, 0, len(bodies))
	type account struct{ name, host string }
	seen := make(map[account]bool, len(bodies))
	for _, b := range bodies {
		host := cmp.Or(b.Host, anyHost)
		if err := check(b.Name, host, rules); err != nil {
			return nil, err
		}
		if err := CheckPassword(b.Name, b.Password, rules); err != nil {
			return nil, err
		}
		if seen[account{b.Name, host}] {
			return nil, fault.Errorf(fault.BadRequest, "The user %s@%s is named twice.", b.Name, host)
		}
		seen[account{b.Name, host}] = true
		u := datastores.User{Name: b.Name, Host: host, Password: datastores.NewSecret(b.Password).ForSealing()}
		names, err := DatabaseNames(b.Databases, rules)
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

// CheckNewUser holds the name and host of a user that is to be made against the datastore's rules. A name that reads as another
// name with a host is refused: nobody could tell the two users apart.
func CheckNewUser(name, host string, rules NameRules) error {
	if err := CheckUser(name, host, rules); err != nil {
		return err
	}
	if err := checkPrefix("user name", name, rules); err != nil {
		return err
	}
	if err := checkName("user name", name, rules.User); err != nil {
		return err
	}
	if other, itsHost, divided := divideUser(name, rules); divided {
		return fault.Errorf(fault.BadRequest, "The user name %q would read as user %q of host %q; choose another name, or send name and host apart.", name, other, itsHost)
	}
	return nil
}

// CheckUser holds the name and host of a user that may be there already against what no name may be.
func CheckUser(name, host string, rules NameRules) error {
	if slices.Contains(rules.reserved.IgnoreUsers, name) {
		return fault.Errorf(fault.BadRequest, "The user name %q is reserved.", name)
	}
	if err := checkName("user name", name, ""); err != nil {
		return err
	}
	return checkName("host of user "+name, host, rules.Host)
}

// CheckPassword never repeats the password in its error.
func CheckPassword(user, password string, rules NameRules) error {
	if checkName("", password, rules.Password) == nil {
		return nil
	}
	want := "1 to 255 bytes without control characters"
	if rules.Password != "" {
		want = "what matches " + rules.Password
	}
	return fault.Errorf(fault.BadRequest, "The password of user %q is not valid; want %s.", user, want)
}

// SplitUser reads the user that a path names: name, or name@host. The last @ divides when what follows is a host of the
// datastore; of one whose users have no hosts that is "%" alone. Else all of it is the name.
func SplitUser(s string, rules NameRules) (name, host string) {
	if name, host, divided := divideUser(s, rules); divided {
		return name, host
	}
	return s, anyHost
}

func divideUser(s string, rules NameRules) (name, host string, divided bool) {
	i := strings.LastIndexByte(s, '@')
	if i < 1 || checkName("host", s[i+1:], rules.Host) != nil {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// NamesOf reads what names an instance's datastore takes.
func (cp *Plane) NamesOf(ctx context.Context, c Caller, id string) (NameRules, error) {
	in, err := cp.Instance(ctx, c, id)
	if err != nil {
		return NameRules{}, err
	}
	guest, err := etcdschema.Get(ctx, cp.Store, etcdschema.InstanceGuestKey(in.ID))
	if err != nil {
		return NameRules{}, err
	}
	reserved, err := datastores.CommonOptions(guest.Value)
	return NameRules{in.Names, reserved}, err
}
