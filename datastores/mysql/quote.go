package mysql

import (
	"crypto/sha1"
	"fmt"
	"regexp"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// The names that tenants may choose: Trove's grammar for MySQL, as RE2 over the whole name. Two things are stricter: no
// leading dash, which a program could take for an option, and no character beyond U+FFFF, which the server's
// dictionary (utf8mb3) cannot hold. Names that are there already may be any.
var (
	databaseRule = regexp.MustCompile(`^[A-Za-z0-9_](?:[A-Za-z0-9_ ?#@-]{0,62}[A-Za-z0-9_-])?$`)
	userRule     = regexp.MustCompile("^" + userFirst + "(?:" + userInner + "{0,30}" + userLast + ")?$")
	hostRule     = regexp.MustCompile(`^(?:%|(?:` + octet + `\.){1,2}%|(?:` + octet + `\.){3}` + octet + `)$`)
)

const (
	// \x{FFFD} is also what a byte that is not UTF-8 counts as.
	userForbids = "\\pZ\\pC'\";`,/\\\\\\x{FFFD}\\x{10000}-\\x{10FFFF}"
	userFirst   = "[^-" + userForbids + "]"
	userInner   = "(?: |" + userLast + ")"
	userLast    = "[^" + userForbids + "]"
	octet       = `(?:%|25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])`
)

func checkDatabase(name string) error {
	if databaseRule.MatchString(name) {
		return nil
	}
	return datastores.Errorf(datastores.Invalid, "%q cannot be the name of a database; want 1 to 64 of A-Z a-z 0-9 _ - "+
		"with spaces ? # @ only inside, and no dash first", name)
}

func checkAccount(a account) error {
	if !userRule.MatchString(a.name) {
		return datastores.Errorf(datastores.Invalid, "%q cannot be the name of a user; want 1 to 32 characters, "+
			"none of ' \" ; ` , / \\, no blank first or last, no dash first", a.name)
	}
	if !hostRule.MatchString(a.host) {
		return datastores.Errorf(datastores.Invalid, "%q cannot be the host of a user; want %% or an IPv4 address in which "+
			"%% stands for any number, such as 10.0.%%", a.host)
	}
	return nil
}

// sqlMode is the mode of every session of the guest; the quoting below is right in no other.
const sqlMode = "STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES"

// identifier quotes any name for the place of an identifier.
func identifier(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// text quotes any string for the place of a literal.
func text(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// pattern is what GRANT and REVOKE want in the place of a database's name: in theirs _ and % are wildcards.
func pattern(database string) string {
	return strings.NewReplacer(`\`, `\\`, `_`, `\_`, `%`, `\%`).Replace(database)
}

// account is a user as the server knows it.
type account struct{ name, host string }

// newAccount makes an account; no host is any.
func newAccount(name, host string) account {
	if host == "" {
		host = "%"
	}
	return account{name, host}
}

// sql quotes the account for a statement.
func (a account) sql() string { return text(a.name) + "@" + text(a.host) }

// String is for a person.
func (a account) String() string { return a.name + "@" + a.host }

// nativeHash is the hash that mysql_native_password keeps of a password.
func nativeHash(password datastores.Secret) string {
	once := sha1.Sum([]byte(password.Reveal()))
	return fmt.Sprintf("*%X", sha1.Sum(once[:]))
}
