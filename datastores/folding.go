package datastores

import (
	"context"
	"encoding/json"
	"strings"
)

// FoldsNames is implemented by a manager whose server may take two names of databases for one, because it does not tell large
// letters from small ones.
type FoldsNames interface {
	// FoldDatabases returns each name as the running server has it.
	FoldDatabases(ctx context.Context, names []string) ([]string, error)
}

// CheckFolded returns Invalid when two of the databases would be one to a new server with those parameters.
func (r NameRules) CheckFolded(databases []Database, values Values) error {
	if r.FoldedBy == "" || values[r.FoldedBy] != json.Number("1") {
		return nil
	}
	var names, folded []string
	for _, d := range databases {
		names, folded = append(names, d.Name), append(folded, strings.ToLower(d.Name))
	}
	return CheckDistinct(names, folded)
}

// CheckDistinct returns Invalid when two of names are the same in folded, where each is as a server has it.
func CheckDistinct(names, folded []string) error {
	seen := make(map[string]string, len(names))
	for i, f := range folded {
		if other, ok := seen[f]; ok {
			return Errorf(Invalid, "the databases %q and %q are one to this server: it does not tell large letters from small ones", other, names[i])
		}
		seen[f] = names[i]
	}
	return nil
}
