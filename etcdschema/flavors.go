package etcdschema

import (
	"cmp"
	"context"
	"errors"
	"slices"
)

// FlavorEntry is a flavor with its id.
type FlavorEntry struct {
	ID string
	Flavor
}

// FlavorList reads all flavors that are good, the smallest first, and says what is wrong with the others.
func (s *Store) FlavorList(ctx context.Context) ([]FlavorEntry, []Problem, error) {
	list, err := List(ctx, s, Flavors(), Page{})
	if err != nil {
		return nil, nil, err
	}
	var problems []Problem
	for _, err := range list.Bad {
		if bad := (*ErrBadRecord)(nil); errors.As(err, &bad) {
			keyOf := func(string) string { return bad.Key }
			problems = append(problems, problemsOf(bad.Err, versionName{}, keyOf, false)...)
		}
	}
	var flavors []FlavorEntry
	for _, r := range list.Records {
		id := Flavors().Name(r.Key)
		if !ValidName(id) {
			problems = append(problems, Problem{Key: r.Key, Path: "", Message: "the id is no name; want 1 to 63 of a-z 0-9 . _ -"})
			continue
		}
		flavors = append(flavors, FlavorEntry{ID: id, Flavor: r.Value})
	}
	slices.SortFunc(flavors, func(a, b FlavorEntry) int {
		return cmp.Or(cmp.Compare(a.RAM, b.RAM), cmp.Compare(a.VCPUs, b.VCPUs), cmp.Compare(a.Disk, b.Disk), cmp.Compare(a.ID, b.ID))
	})
	return flavors, problems, nil
}
