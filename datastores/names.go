package datastores

import (
	"cmp"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// NameRules are RE2 patterns that a whole name must match; "" means any name of 1 to 255 bytes without control characters.
// They are held against what is to be made, by the gateway before anything is enqueued and by the guest runtime before it
// asks the manager. What is there already may have any name: managers quote.
type NameRules struct {
	Database string `json:"database,omitempty"`
	User     string `json:"user,omitempty"`
	Host     string `json:"host,omitempty"`
	Password string `json:"password,omitempty"`
	// Reserved are what no name of a new database or user begins with: it is the server's or the guest's.
	Reserved []string `json:"reserved,omitempty"`
	// FoldedBy is a parameter for create only: at 1 the server takes large letters in names of databases for small ones. "": it
	// never does.
	FoldedBy string `json:"folded_by,omitempty"`
}

// ReservedPrefix returns the prefix because of which a new database or user cannot have that name; "" for none.
func (r NameRules) ReservedPrefix(name string) string {
	for _, prefix := range r.Reserved {
		if strings.HasPrefix(name, prefix) {
			return prefix
		}
	}
	return ""
}

// Names is implemented by a manager that does not take every name and password.
type Names interface {
	// Names returns the rules. The Env may be the zero one.
	Names() NameRules
}

// RulesOf returns the rules of m, the zero NameRules when it has none of its own.
func RulesOf(m Manager) NameRules {
	if n, ok := m.(Names); ok {
		return n.Names()
	}
	return NameRules{}
}

const anyName = "want 1 to 255 bytes without control characters"

// Fits reports whether name follows pattern, a rule of [NameRules].
func Fits(pattern, name string) bool {
	if name == "" || len(name) > 255 || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return false
	}
	return pattern == "" || wholly(pattern, name)
}

// CheckDatabase returns Invalid when no database may be made under the name.
func (r NameRules) CheckDatabase(name string) error {
	return r.refuse("database name", name, r.Database)
}

// CheckUser returns Invalid when no user may be made under the name; host "" is any.
func (r NameRules) CheckUser(name, host string) error {
	if err := r.refuse("user name", name, r.User); err != nil {
		return err
	}
	return r.CheckHost(host)
}

// CheckHost returns Invalid when no user may have the host; "" is any.
func (r NameRules) CheckHost(host string) error { return refuse("host", cmp.Or(host, "%"), r.Host) }

// CheckPassword returns Invalid when nobody may have the password. The error does not tell it.
func (r NameRules) CheckPassword(whose string, password Secret) error {
	switch {
	case Fits(r.Password, password.Reveal()):
		return nil
	case r.Password == "":
		return Errorf(Invalid, "the password of %q cannot be used: %s", whose, anyName)
	}
	return Errorf(Invalid, "the password of %q cannot be used: it must match %s", whose, r.Password)
}

func (r NameRules) refuse(what, name, pattern string) error {
	if prefix := r.ReservedPrefix(name); prefix != "" {
		return Errorf(Invalid, "%s %q is reserved, as all that begin with %s are", what, name, prefix)
	}
	return refuse(what, name, pattern)
}

func refuse(what, name, pattern string) error {
	switch {
	case Fits(pattern, name):
		return nil
	case pattern == "":
		return Errorf(Invalid, "%s %q is not possible: %s", what, name, anyName)
	}
	return Errorf(Invalid, "%s %q is not possible: it must match %s", what, name, pattern)
}

// wholly reports whether the whole of v matches pattern.
func wholly(pattern, v string) bool {
	re, err := whole(pattern)
	return err == nil && re.MatchString(v)
}

// whole makes a pattern match all of a text. It fails for a pattern that is good only by itself, such as \Qabc.
func whole(pattern string) (*regexp.Regexp, error) {
	return regexp.Compile(`\A(?:` + pattern + `)\z`)
}
