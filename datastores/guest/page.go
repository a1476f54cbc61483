package guest

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// page orders items by key and returns at most args.Limit of those after args.Marker, and the next page's marker.
func page[T any](items []T, key func(T) string, args datastores.ListArgs) (part []T, next string) {
	slices.SortFunc(items, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
	if args.Marker != "" {
		first := slices.IndexFunc(items, func(item T) bool { return key(item) > args.Marker })
		if first < 0 {
			return nil, ""
		}
		items = items[first:]
	}
	if args.Limit > 0 && len(items) > args.Limit {
		items = items[:args.Limit]
		next = key(items[len(items)-1])
	}
	return items, next
}

func databaseKey(db datastores.Database) string { return db.Name }

// userKey is name@host, as clients of the REST API write it.
func userKey(u datastores.User) string { return u.Name + "@" + cmp.Or(u.Host, "%") }

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
