package postgresql

import (
	"regexp"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// nameRule is what tenants may call databases and users, 63 bytes as the server allows.
var nameRule = regexp.MustCompile(`^[A-Za-z0-9_](?:[A-Za-z0-9_ ?#@.$-]{0,61}[A-Za-z0-9_$-])?$`)

// passwordRule leaves out what drivers prepare in different ways (RFC 4013), so that a password works with every one.
var passwordRule = regexp.MustCompile(`^[\x20-\x7e]{1,255}$`)

// names are the rules for new databases and users. Names that are there already may be any.
func names() datastores.NameRules {
	return datastores.NameRules{
		Database: nameRule.String(),
		User:     nameRule.String(),
		Host:     "%?",
		Password: passwordRule.String(),
		Reserved: []string{reservedPrefix, serversPrefix},
	}
}

// checkName holds the name of a new database or user, which what says, against the rules.
func checkName(what, name string) error {
	if prefix := names().ReservedPrefix(name); prefix != "" {
		return datastores.Errorf(datastores.Invalid, "%q cannot be the name of a %s: names that begin with %s are reserved", name, what, prefix)
	}
	if nameRule.MatchString(name) {
		return nil
	}
	return datastores.Errorf(datastores.Invalid, "%q cannot be the name of a %s; want 1 to 63 of A-Z a-z 0-9 _ $ - "+
		"with spaces ? # @ . only inside, and no dash or $ first", name, what)
}

func checkPassword(password datastores.Secret, whose string) error {
	switch {
	case password.IsZero():
		return datastores.Errorf(datastores.Invalid, "%s needs a password", whose)
	case !passwordRule.MatchString(password.Reveal()):
		return datastores.Errorf(datastores.Invalid, "the password of %s cannot be used; want 1 to 255 printable ASCII characters", whose)
	}
	return nil
}

// identifier quotes any name for the place of an identifier.
func identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// text quotes any string for the place of a literal, in a session with standard_conforming_strings.
func text(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
