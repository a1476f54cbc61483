package guest

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// page orders items by their first key and returns at most args.Limit of those after args.Marker, and the next page's marker.
func page[T any](items []T, keys func(T) []string, args datastores.ListArgs) (part []T, next string) {
	slices.SortFunc(items, func(a, b T) int { return cmp.Compare(keys(a)[0], keys(b)[0]) })
	if args.Marker != "" {
		items = items[past(items, keys, args.Marker):]
	}
	if args.Limit > 0 && len(items) > args.Limit {
		items = items[:args.Limit]
		next = keys(items[len(items)-1])[0]
	}
	return items, next
}

// past counts the items up to and with the one that a marker names, by its first key if it can, as the marker is or with one
// quoting less: clients quote it once too often. When no item has that name any more, its place in the order counts.
func past[T any](items []T, keys func(T) []string, marker string) int {
	plain, err := url.PathUnescape(marker)
	if err != nil {
		plain = marker
	}
	for _, name := range []string{marker, plain} {
		for nth := range 2 {
			for i, item := range slices.Backward(items) {
				if k := keys(item); nth < len(k) && k[nth] == name {
					return i + 1
				}
			}
		}
	}
	if first := slices.IndexFunc(items, func(item T) bool { return keys(item)[0] > marker }); first >= 0 {
		return first
	}
	return len(items)
}

func databaseKeys(db datastores.Database) []string { return []string{db.Name} }

// userKeys are name@host, as clients of the REST API write it, and the name alone, which openstacksdk takes for the marker.
func userKeys(u datastores.User) []string {
	return []string{u.Name + "@" + cmp.Or(u.Host, "%"), u.Name}
}

// reserved are the names that belong to the server or its guest: tenants neither see nor use them.
type reserved struct{ users, databases []string }

// Letters of either case count as the same: servers disagree on whether they are, and nobody needs MySQL beside mysql.
func holds(list []string, name string) bool {
	return slices.ContainsFunc(list, func(r string) bool { return strings.EqualFold(r, name) })
}

func (r reserved) refuseUsers(names ...string) error {
	for _, name := range names {
		if holds(r.users, name) {
			return datastores.Errorf(datastores.Invalid, "user %q is reserved", name)
		}
	}
	return nil
}

func (r reserved) refuseDatabases(names ...string) error {
	for _, name := range names {
		if holds(r.databases, name) {
			return datastores.Errorf(datastores.Invalid, "database %q is reserved", name)
		}
	}
	return nil
}

// visible returns the databases that tenants may see.
func (r reserved) visible(list []datastores.Database) []datastores.Database {
	return slices.DeleteFunc(list, func(db datastores.Database) bool { return holds(r.databases, db.Name) })
}

func names(list []datastores.Database) []string {
	all := make([]string, len(list))
	for i, db := range list {
		all[i] = db.Name
	}
	return all
}
