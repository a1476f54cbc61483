package datastores

import (
	"encoding/json"
	"testing"
)

func TestDatabasesThatAreOne(t *testing.T) {
	folds := NameRules{FoldedBy: "lower"}
	on, off := Values{"lower": json.Number("1")}, Values{"lower": json.Number("0")}
	for _, row := range []struct {
		rules  NameRules
		values Values
		names  []string
		fine   bool
	}{
		{folds, on, []string{"Main", "main"}, false},
		{folds, on, []string{"a", "Main", "b", "mAIN"}, false},
		{folds, on, []string{"Main", "mains"}, true},
		{folds, off, []string{"Main", "main"}, true},
		{folds, nil, []string{"Main", "main"}, true},
		{NameRules{}, on, []string{"Main", "main"}, true},
	} {
		var databases []Database
		for _, name := range row.names {
			databases = append(databases, Database{Name: name})
		}
		if err := row.rules.CheckFolded(databases, row.values); (err == nil) != row.fine {
			t.Errorf("%v with %v of %q: %v", row.names, row.values, row.rules.FoldedBy, err)
		}
	}
}
