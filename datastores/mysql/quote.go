package mysql

import (
	"crypto/sha1"
	"fmt"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// The names that tenants may choose: Trove's grammar for MySQL, as RE2 over the whole name. Two things are stricter: no
// leading dash, which a program could take for an option, and no character beyond U+FFFF, which the server's
// dictionary (utf8mb3) cannot hold. Names that are there already may be any.
const (
	databaseRule = `[A-Za-z0-9_](?:[A-Za-z0-9_ ?#@-]{0,62}[A-Za-z0-9_-])?`
	userRule     = userFirst + "(?:" + userInner + "{0,30}" + userLast + ")?"
	hostRule     = `%|(?:` + octet + `\.){1,2}%|(?:` + octet + `\.){3}` + octet

	// \x{FFFD} is also what a byte that is not UTF-8 counts as.
	userForbids = "\\pZ\\pC'\";`,/\\\\\\x{FFFD}\\x{10000}-\\x{10FFFF}"
	userFirst   = "[^-" + userForbids + "]"
	userInner   = "(?: |" + userLast + ")"
	userLast    = "[^" + userForbids + "]"
	octet       = `(?:%|25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])`
)

// foldedBy is the parameter with which the server knows databases by small letters only.
const foldedBy = "lower_case_table_names"

// Names implements [datastores.Names].
func (m *Manager) Names() datastores.NameRules {
	return datastores.NameRules{Database: databaseRule, User: userRule, Host: hostRule, Reserved: []string{moduleUsers}, FoldedBy: foldedBy}
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
