package postgresql

import (
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// nameRule is what tenants may call databases and users, 63 bytes as the server allows. Names that are there already may
// be any.
const nameRule = `[A-Za-z0-9_](?:[A-Za-z0-9_ ?#@.$-]{0,61}[A-Za-z0-9_$-])?`

// passwordRule leaves out what drivers prepare in different ways (RFC 4013), so that a password works with every one.
const passwordRule = `[\x20-\x7e]{1,255}`

// Names implements [datastores.Names].
func (m *Manager) Names() datastores.NameRules {
	return datastores.NameRules{
		Database: nameRule, User: nameRule, Host: "%?", Password: passwordRule, Reserved: []string{reservedPrefix, serversPrefix},
	}
}

// identifier quotes any name for the place of an identifier.
func identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// text quotes any string for the place of a literal, in a session with standard_conforming_strings.
func text(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
