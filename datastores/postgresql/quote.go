package postgresql

import (
	"regexp"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// nameRule is what tenants may call databases and users, 63 bytes as the server allows. Names that are there already may
// be any.
var nameRule = regexp.MustCompile(`^[A-Za-z0-9_](?:[A-Za-z0-9_ ?#@.$-]{0,61}[A-Za-z0-9_$-])?$`)

// passwordRule leaves out what drivers prepare in different ways (RFC 4013), so that a password works with every one.
var passwordRule = regexp.MustCompile(`^[\x20-\x7e]{1,255}$`)

func checkDatabase(name string) error {
	if nameRule.MatchString(name) {
		return nil
	}
	return datastores.Errorf(datastores.Invalid, "%q cannot be the name of a database; want 1 to 63 of A-Z a-z 0-9 _ $ - "+
		"with spaces ? # @ . only inside, and no dash or $ first", name)
}

func checkUser(name string) error {
	if nameRule.MatchString(name) {
		return nil
	}
	return datastores.Errorf(datastores.Invalid, "%q cannot be the name of a user; want 1 to 63 of A-Z a-z 0-9 _ $ - "+
		"with spaces ? # @ . only inside, and no dash or $ first", name)
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
