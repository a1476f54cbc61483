// Package troveimport makes definitions of a Trove configuration. Each datastore's group is split into the half that
// gateways read and the half that guests are told. What a built-in definition of the same manager says and the
// configuration does not, stays. Whatever cannot be carried over is told, option by option; nothing is dropped silently.
package troveimport

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/gateway/cmd/coffer/troveconf"
)

// Request is what to import.
type Request struct {
	Conf     *troveconf.Conf
	Versions map[string]string // by datastore; else the built-in definition's
	Base     *Base             // built-in definitions
	// DevicePath: guests have machines of their own, with a volume there, and mount it. Hosts make volumes by themselves.
	DevicePath bool
}

// Result is what came of it. The definitions pass the same checks as the operators' own.
type Result struct {
	Definitions []Definition `json:"definitions"` // by key
	Mapped      []Mapped     `json:"mapped"`      // by place
	Notes       []Note       `json:"notes"`       // by place
}

// Mapped is an option that a definition holds now.
type Mapped struct {
	troveconf.Place
	Option string `json:"option"` // such as mysql.tcp_ports
}

// Note is an option that no definition holds.
type Note struct {
	troveconf.Place
	Option string `json:"option,omitempty"` // "": the line as a whole
	// Lost: something has to be done about it. Otherwise Coffer does it anyway, or Trove did nothing with it.
	Lost    bool   `json:"lost"`
	Why     string `json:"why"`
	Instead string `json:"instead,omitempty"`
}

func (n Note) String() string {
	text := n.Place.String() + ": "
	if n.Option != "" {
		text += n.Option + ": "
	}
	if !n.Lost {
		return text + "not needed: " + n.Why
	}
	text += "not mapped: " + n.Why
	if n.Instead != "" {
		text += "; " + n.Instead
	}
	return text
}

// Lost counts the notes about which something has to be done.
func (r *Result) Lost() int {
	n := 0
	for _, note := range r.Notes {
		if note.Lost {
			n++
		}
	}
	return n
}

// Import makes the definitions.
func Import(req Request) (*Result, error) {
	im := &importing{Request: req, Result: &Result{Definitions: []Definition{}, Mapped: []Mapped{}, Notes: []Note{}}, did: map[int]bool{}}
	for _, p := range req.Conf.Problems {
		im.note(p.Place, "", verdict{lost: true, why: p.Message, instead: "correct the line and import again"})
	}
	targets := im.targets()
	for name := range req.Versions {
		if !slices.ContainsFunc(targets, func(t *target) bool { return t.name == name }) {
			return nil, fmt.Errorf("a version is given for %s, of which the configuration says nothing", name)
		}
	}
	for _, t := range targets {
		im.begin(t)
	}
	im.globals(targets)
	for _, t := range targets {
		im.group(t)
	}
	im.others()
	for _, t := range targets {
		definitions, err := t.definitions()
		if err != nil {
			return nil, err
		}
		im.Definitions = append(im.Definitions, definitions...)
	}
	byPlace := func(a, b troveconf.Place) int { return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line) }
	slices.SortStableFunc(im.Notes, func(a, b Note) int { return byPlace(a.Place, b.Place) })
	slices.SortStableFunc(im.Mapped, func(a, b Mapped) int { return byPlace(a.Place, b.Place) })
	slices.SortFunc(im.Definitions, func(a, b Definition) int { return strings.Compare(a.Key, b.Key) })
	return im.Result, nil
}

// importing is an Import under way.
type importing struct {
	Request
	*Result
	did map[int]bool // entries by their index: mapped, or noted
}

// verdict says what comes of an option that is not carried over.
type verdict struct {
	lost         bool
	why, instead string
}

func (im *importing) note(at troveconf.Place, option string, v verdict) {
	im.Notes = append(im.Notes, Note{Place: at, Option: option, Lost: v.lost, Why: v.why, Instead: v.instead})
}

func (im *importing) drop(i int, v verdict) {
	e := im.Conf.Entries[i]
	im.did[i] = true
	im.note(e.Place, e.Group+"."+e.Name, v)
}

func (im *importing) mapped(i int) {
	e := im.Conf.Entries[i]
	im.did[i] = true
	im.Mapped = append(im.Mapped, Mapped{e.Place, e.Group + "." + e.Name})
}

// entry returns the index of the entry that counts for an option; -1 when there is none. Those that it replaces are told.
func (im *importing) entry(group, option string) int {
	last := -1
	for i, e := range im.Conf.Entries {
		if e.Group != group || e.Name != option || im.did[i] {
			continue
		}
		if last >= 0 {
			im.drop(last, verdict{why: fmt.Sprintf("line %d of %s gives another value, which counts", e.Line, e.File)})
		}
		last = i
	}
	return last
}

// group carries a datastore's own options over.
func (im *importing) group(t *target) {
	for _, r := range groupRules() {
		if r.option == devicePath && im.DevicePath {
			r.carry = guestText(devicePath)
		}
		if r.option == longQueryTime && t.manager == "mysql" {
			r.carry = guestInteger(longQueryTime)
		}
		if i := im.entry(t.name, r.option); i >= 0 {
			im.rule(i, r, []*target{t})
		}
	}
	for i, e := range im.Conf.Entries {
		if e.Group == t.name && !im.did[i] {
			if i = im.entry(t.name, e.Name); i >= 0 {
				im.rule(i, rule{carry: ownOption(t, e.Name)}, []*target{t})
			}
		}
	}
}

// Options that some targets take and others do not.
const (
	devicePath    = "device_path"
	longQueryTime = "guest_log_long_query_time" // manager mysql has an option of that name
)

// rule does with an entry what a rule says; all targets take it, or it is told.
func (im *importing) rule(i int, r rule, targets []*target) {
	value, err := im.Conf.Expand(im.Conf.Entries[i])
	if err != nil {
		im.drop(i, verdict{lost: true, why: err.Error()})
		return
	}
	if r.carry == nil {
		lost := r.harmless == nil || !r.harmless(value)
		im.drop(i, verdict{lost, r.why, r.instead})
		return
	}
	for _, t := range targets {
		if err := t.try(r.carry, value); err != nil {
			im.drop(i, verdict{lost: true, why: err.Error(), instead: cmp.Or(r.instead, "what the definition of "+t.name+" has without it stays")})
			return
		}
	}
	im.mapped(i)
}
