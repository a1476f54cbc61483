package datastores

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Labels say what is special about a machine, such as {"disk": "nvme"}.
type Labels map[string]string

// maxLabels bounds what every create reads of a host.
const maxLabels = 32

var labelWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$`)

// ValidLabel reports whether s can be the name or the value of a label: 1 to 63 of A-Z a-z 0-9 . _ / -, beginning with a letter
// or digit.
func ValidLabel(s string) bool { return labelWord.MatchString(s) }

// UnmarshalJSON implements json.Unmarshaler.
func (l *Labels) UnmarshalJSON(b []byte) error {
	var labels map[string]string
	if err := json.Unmarshal(b, &labels); err != nil {
		return errors.New(`want an object of texts, such as {"disk": "nvme"}`)
	}
	*l = labels
	return nil
}

// Problems returns everything that is wrong with labels; path is how messages begin.
func (l Labels) Problems(path string) []error {
	var problems []error
	if len(l) > maxLabels {
		problems = append(problems, fmt.Errorf("%s: there are %d; want at most %d", path, len(l), maxLabels))
	}
	for _, key := range slices.Sorted(maps.Keys(l)) {
		if !ValidLabel(key) || !ValidLabel(l[key]) {
			problems = append(problems, fmt.Errorf("%s: %q=%q; want 1 to 63 of A-Z a-z 0-9 . _ / - for each, beginning with a letter or digit", path, key, l[key]))
		}
	}
	return problems
}

// Within reports whether all of the labels are among others.
func (l Labels) Within(others Labels) bool {
	for key, value := range l {
		if others[key] != value { // no value is ""
			return false
		}
	}
	return true
}

// String lists labels as key=value, in order.
func (l Labels) String() string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(l)) {
		all = append(all, key+"="+l[key])
	}
	return strings.Join(all, ", ")
}
