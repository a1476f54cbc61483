package control

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cofferdb/coffer/datastores"
)

// The rules of three kinds of datastores: users with hosts, without, and one that says nothing of its hosts.
var (
	withHosts    = NameRules{NameRules: datastores.NameRules{User: `[^ ]{1,32}`, Host: `%|[0-9]+(\.[0-9]+){3}`}}
	withoutHosts = NameRules{NameRules: datastores.NameRules{User: `[^ ]{1,63}`, Host: `%?`}}
	anyHosts     = NameRules{}
)

func TestUsersAreReadInOneWay(t *testing.T) {
	for _, row := range []struct {
		rules             NameRules
		text, name, host  string
		canBeMade, divide bool
	}{
		{withHosts, "bob", "bob", "%", true, false},
		{withHosts, "bob@%", "bob", "%", false, true},
		{withHosts, "bob@10.0.0.1", "bob", "10.0.0.1", false, true},
		{withHosts, "bob@10.0.0.1@%", "bob@10.0.0.1", "%", false, true},
		{withHosts, "ann@example.com", "ann@example.com", "%", true, false},
		{withHosts, "bob@", "bob@", "%", true, false},
		{withHosts, "@10.0.0.1", "@10.0.0.1", "%", true, false},
		{withoutHosts, "ann@example.com", "ann@example.com", "%", true, false},
		{withoutHosts, "bob@10.0.0.1", "bob@10.0.0.1", "%", true, false},
		{withoutHosts, "bob@%", "bob", "%", false, true},
		{withoutHosts, "bob@", "bob@", "%", true, false},
		{anyHosts, "bob@example.com", "bob", "example.com", false, true},
	} {
		if name, host := SplitUser(row.text, row.rules); name != row.name || host != row.host {
			t.Errorf("%q is user %q of host %q, want %q of %q", row.text, name, host, row.name, row.host)
		}
		if err := CheckNewUser(row.text, anyHost, row.rules); (err == nil) != row.canBeMade {
			t.Errorf("a user named %q can be made: %v, want %v", row.text, err, row.canBeMade)
		}
	}
}

// TestNoTwoUsersAreWrittenAlike: whoever can be made is found by its name alone when it has no host, and by name@host.
func TestNoTwoUsersAreWrittenAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := rapid.SampledFrom([]NameRules{withHosts, withoutHosts, anyHosts}).Draw(t, "rules")
		name := rapid.StringMatching(`[a@%.0-9]{1,12}`).Draw(t, "name")
		host := rapid.SampledFrom([]string{"%", "10.0.0.1"}).Draw(t, "host")
		if CheckNewUser(name, host, rules) != nil {
			return
		}
		written := []string{name + "@" + host}
		if host == anyHost {
			written = append(written, name)
		}
		for _, text := range written {
			if n, h := SplitUser(text, rules); n != name || h != host {
				t.Fatalf("user %q of host %q is written %q, which is read as %q of %q", name, host, text, n, h)
			}
		}
	})
}

// TestNamesThatAreThere: what tenants have made with the server's own means can be shown, changed and deleted.
func TestNamesThatAreThere(t *testing.T) {
	rules := withHosts
	rules.reserved.IgnoreUsers, rules.reserved.IgnoreDBs = []string{"os_admin"}, []string{"mysql"}
	rules.Database, rules.Reserved = `[a-z_]+`, []string{"os_"}
	for name, ok := range map[string]bool{"two words": true, "ünïcode": true, "": false, "a\nb": false, "os_admin": false, strings.Repeat("x", 256): false} {
		if err := CheckUser(name, anyHost, rules); (err == nil) != ok {
			t.Errorf("a user named %q may be asked for: %v, want %v", name, err, ok)
		}
	}
	for name, ok := range map[string]bool{"Two Words": true, "": false, "mysql": false} {
		if err := CheckDatabase(name, rules); (err == nil) != ok {
			t.Errorf("a database named %q may be asked for: %v, want %v", name, err, ok)
		}
	}
	for name, ok := range map[string]bool{"Two Words": false, "os_own": false, "osown": true} {
		if _, err := CheckDatabases([]DatabaseBody{{Name: name}}, rules); (err == nil) != ok {
			t.Errorf("a database named %q can be made: %v, want %v", name, err, ok)
		}
	}
	for name, ok := range map[string]bool{"os_own": false, "osown": true} {
		if err := CheckNewUser(name, anyHost, rules); (err == nil) != ok {
			t.Errorf("a user named %q can be made: %v, want %v", name, err, ok)
		}
		if err := CheckUser(name, anyHost, rules); err != nil {
			t.Errorf("a user named %q that is there may not be asked for: %v", name, err)
		}
	}
}

func TestNamesHaveNoControlCharacters(t *testing.T) {
	for name, good := range map[string]bool{"db-1": true, "a\x1b[2Jb": false, "a\nb": false} {
		if ValidName(name) != good {
			t.Errorf("%q as a name: %t", name, !good)
		}
	}
}
