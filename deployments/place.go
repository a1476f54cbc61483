package deployments

import (
	"fmt"
	"maps"

	"github.com/cofferdb/coffer/datastores"
)

// Place says where a machine is and what is special about it: instances are placed by it.
type Place struct {
	Zone   string            `json:"availability_zone,omitempty"` // "": none
	Labels datastores.Labels `json:"labels,omitempty"`
}

// Mistakes returns everything that is wrong with p. (Problems are what a definition has: a record that holds a place is none.)
func (p Place) Mistakes() []error {
	problems := p.Labels.Problems("labels")
	if p.Zone != "" && !datastores.ValidLabel(p.Zone) {
		problems = append(problems, fmt.Errorf("availability_zone: %q; want 1 to 63 of A-Z a-z 0-9 . _ / -, beginning with a letter or digit", p.Zone))
	}
	return problems
}

// Equal reports whether two places are the same.
func (p Place) Equal(other Place) bool {
	return p.Zone == other.Zone && maps.Equal(p.Labels, other.Labels)
}

// String is a place for people.
func (p Place) String() string {
	zone := "availability zone " + p.Zone
	if p.Zone == "" {
		zone = "no availability zone"
	}
	if len(p.Labels) == 0 {
		return zone + " and no labels"
	}
	return zone + " and the labels " + p.Labels.String()
}
