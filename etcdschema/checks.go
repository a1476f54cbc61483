package etcdschema

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
)

// HostCheck is what a host offers and what it says of definitions. It is apart from the host's record, which changes with every
// instance.
type HostCheck struct {
	deployments.Offer                   // as last announced
	Said              deployments.Place `json:"said,omitzero"` // as last announced
	// Verdicts are by the id of the definition. They were given at Checked, with the inventory that is named there.
	Verdicts map[string]datastores.Verdict `json:"verdicts,omitempty"`
	Checked  string                        `json:"checked,omitempty"`
	At       time.Time                     `json:"at,omitzero"`
}

// Starts reports whether the host has the guest of the manager.
func (h HostCheck) Starts(manager string) bool { return slices.Contains(h.Managers, manager) }

// Serves reports whether the host can serve the definition, as far as it has said: one of which it has said nothing yet
// counts as good.
func (h HostCheck) Serves(d deployments.Definition) bool {
	return h.Starts(d.Manager) && h.Has(d.Image) && h.Verdicts[d.ID()].Good()
}

// Has reports whether the host has an image; "" is its own system.
func (h HostCheck) Has(image string) bool { return image == "" || slices.Contains(h.Images, image) }

// unableAgain is how long a host is believed that it cannot serve a definition: what it lacks an operator may bring without
// the host's inventory telling.
const unableAgain = time.Minute

// Ask returns the definitions that the host should be asked about, all or none: it has not judged one of them yet, its
// inventory is another, or it is time to ask again for one that it could not serve. unknown: it has not judged one of them.
func (h HostCheck) Ask(among []deployments.Definition, now time.Time) (ask []deployments.Definition, unknown bool) {
	able := true
	seen := map[string]bool{}
	for _, d := range among {
		id := d.ID()
		if seen[id] || !h.Starts(d.Manager) {
			continue
		}
		seen[id] = true
		ask = append(ask, d)
		verdict, known := h.Verdicts[id]
		unknown = unknown || !known
		able = able && verdict.Good()
	}
	if !unknown && h.Checked == h.Inventory && (able || now.Before(h.At.Add(unableAgain))) {
		return nil, false
	}
	return ask, unknown
}

// problemsBy are what hosts find wrong with the definition's options; none when one of them takes it.
func problemsBy(hosts map[string]HostCheck, d deployments.Definition) []string {
	var problems []string
	for _, id := range slices.Sorted(maps.Keys(hosts)) {
		verdict, known := hosts[id].Verdicts[d.ID()]
		if known && hosts[id].Starts(d.Manager) {
			if len(verdict.Problems) == 0 {
				return nil
			}
			problems = verdict.Problems
		}
	}
	return problems
}

// unserved says why no host can serve the definition; "" when one can, or there is none that could be asked.
func unserved(hosts map[string]HostCheck, d deployments.Definition) string {
	var reasons []string
	for _, id := range slices.Sorted(maps.Keys(hosts)) {
		h := hosts[id]
		if h.Serves(d) {
			return ""
		}
		reason := h.Verdicts[d.ID()].Unable
		switch {
		case slices.Contains(h.Refused, d.Manager):
			reason = fmt.Sprintf("the guest binary %s-guest is not offered by its host, whose notes say why", d.Manager)
		case !h.Starts(d.Manager):
			reason = fmt.Sprintf("there is no guest binary %s-guest", d.Manager)
		case !h.Has(d.Image):
			reason = "there is no image " + d.Image
		case reason == "":
			reason = "its options are not good"
		}
		if !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
	}
	return strings.Join(reasons, "; ")
}
