package mysql

import (
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/configfile"
)

// A character set and its collation are one thing with two names in the server: whoever sets one changes the other. A tenant who
// sets one of them alone gets the other that belongs to it.
const (
	characterSetPrefix = "character_set_"
	collationPrefix    = "collation_"
)

// partner is the name of the variable that goes with a character set or collation; "": there is none.
func partner(name string) string {
	for _, of := range []string{"server", "connection", "database"} {
		switch name {
		case characterSetPrefix + of:
			return collationPrefix + of
		case collationPrefix + of:
			return characterSetPrefix + of
		}
	}
	return ""
}

// broughtByPartner reports whether a variable has no value of the tenant's, and its partner has one.
func broughtByPartner(name string, values datastores.Values) bool {
	_, own := values[name]
	_, brought := values[partner(name)]
	return brought && !own
}

// withPartners adds the partners of names.
func withPartners(names []string) []string {
	for _, name := range names {
		if p := partner(name); p != "" {
			names = append(names, p)
		}
	}
	return names
}

// bringPartners changes the default of what the tenant has not set to what belongs to its partner: an option file must name the
// character set of a collation, and no collation of another one.
func bringPartners(settings []configfile.Setting, values datastores.Values) []configfile.Setting {
	const charset, collation = characterSetPrefix + "server", collationPrefix + "server"
	if broughtByPartner(collation, values) {
		return slices.DeleteFunc(settings, func(s configfile.Setting) bool { return s.Name == collation })
	}
	for i, s := range settings {
		if s.Name == charset && broughtByPartner(charset, values) {
			settings[i].Value = characterSetOf(valueText(values[collation]), s.Value)
		}
	}
	return settings
}

// characterSetOf is the one that a collation belongs to: its name begins with it. Those of the Unicode algorithm may come without.
func characterSetOf(collation, unicode string) string {
	charset, _, _ := strings.Cut(collation, "_")
	if strings.HasPrefix(charset, "uca") {
		return unicode
	}
	return charset
}
