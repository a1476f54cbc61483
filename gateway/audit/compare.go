package audit

import (
	"bytes"
	"fmt"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
)

// Ours is what gateways keep of an agent.
type Ours struct {
	etcdschema.AuditRows // as they lie in etcd
	// First is the number that the oldest row must have: as many are kept as the window holds.
	First   int64
	Pending []string // ids of commands whose result has not been taken yet
	// Link is what the link of a row must be behind another.
	Link func(link []byte, row etcdschema.AuditRow) []byte
}

// Theirs is what the agent keeps; nil: it does not answer, or is of a version that keeps nothing.
type Theirs struct {
	Floor agentpoll.Mark
	Rows  []agentpoll.Row
}

// End says at which end of the wire something was found.
type End string

const (
	AtGateways End = "gateways"
	AtAgent    End = "agent"
)

// What is found.
const (
	Omitted   = "omitted"   // a row is not there that was
	Changed   = "changed"   // a row is not as it was written
	Reordered = "reordered" // a row is not in its place
	Unknown   = "unknown"   // the agent has done what the gateways have not asked for
	Silent    = "silent"    // the agent has told of no row where it kept some before
)

// Finding is one row that is not as it must be.
type Finding struct {
	End     End    `json:"end"`
	Kind    string `json:"kind"`
	Seq     int64  `json:"seq"`          // of the row, at its end
	ID      string `json:"id,omitempty"` // of the command
	Message string `json:"message"`
}

// Verdict is what a comparison comes to.
type Verdict struct {
	Findings []Finding `json:"findings"`
	Compared int       `json:"compared"` // rows that both ends have
	Older    int       `json:"older"`    // rows that only one end still has, since its window is longer
	Unkept   int       `json:"unkept"`   // rows of the gateways of which the agent keeps none: an older version, or refused before they began
	Former   int       `json:"former"`   // rows of a chain that the agent has not any more: it was made anew
}

func (v *Verdict) found(end End, kind string, seq int64, id, format string, args ...any) {
	v.Findings = append(v.Findings, Finding{end, kind, seq, id, fmt.Sprintf(format, args...)})
}

// Compare holds both ends' rows against themselves, and against each other.
func Compare(ours Ours, theirs *Theirs) Verdict {
	v := Verdict{Findings: []Finding{}}
	v.ours(ours)
	if theirs == nil {
		return v
	}
	v.theirs(*theirs)
	v.both(ours, *theirs)
	return v
}

// place holds a row's number against the one that it must have, and returns the one that the next must have.
func (v *Verdict) place(end End, want, got int64, id string) (next int64) {
	switch {
	case got > want:
		v.found(end, Omitted, want, "", "rows %d to %d are missing", want, got-1)
	case got < want:
		v.found(end, Reordered, got, id, "row %d lies where row %d belongs", got, want)
		return want
	}
	return got + 1
}

// ours follows the gateways' chain.
func (v *Verdict) ours(o Ours) {
	next, link := o.First, o.Before
	for _, row := range o.Rows {
		placed := row.Seq == next
		if next = v.place(AtGateways, next, row.Seq, row.ID); placed && !bytes.Equal(row.Link, o.Link(link, row)) {
			v.found(AtGateways, Changed, row.Seq, row.ID, "row %d, or the one before it, is not as a gateway wrote it", row.Seq)
		}
		link = row.Link
	}
}

// theirs follows the agent's chain from its floor.
func (v *Verdict) theirs(t Theirs) {
	next, link := t.Floor.Seq+1, t.Floor.Link
	for _, row := range t.Rows {
		placed := row.Seq == next
		if next = v.place(AtAgent, next, row.Seq, row.ID); placed && !bytes.Equal(row.Link, row.LinkedTo(link)) {
			v.found(AtAgent, Changed, row.Seq, row.ID, "row %d, or the one before it, is not as it was written", row.Seq)
		}
		link = row.Link
	}
}

// both holds the rows against each other, by the place in the agent's chain that came with each result.
func (v *Verdict) both(o Ours, t Theirs) {
	rows, last := map[int64]agentpoll.Row{}, t.Floor.Seq
	for _, row := range t.Rows {
		rows[row.Seq] = row
		last = max(last, row.Seq)
	}
	known, begun := map[string]bool{}, false // ids that gateways know of
	for _, id := range o.Pending {
		known[id] = true
	}
	for _, our := range o.Rows {
		known[our.ID] = true
		switch m := our.Agent; {
		case our.Withdrawn:
		case m == nil && begun && our.Failed == "":
			v.found(AtAgent, Silent, our.Seq, our.ID, "the agent has told of no row of %s, though it kept rows before", our.Method)
		case m == nil:
			v.Unkept++
		case m.Chain != t.Floor.Chain:
			v.Former++
		case m.Seq > last:
			begun = true
			v.found(AtAgent, Omitted, m.Seq, our.ID, "the agent told of row %d for %s, and has none behind %d", m.Seq, our.Method, last)
		case m.Seq == t.Floor.Seq && !bytes.Equal(m.Link, t.Floor.Link):
			v.found(AtAgent, Changed, m.Seq, our.ID, "what the agent says of the rows that it keeps no longer is not what it said when it ran %s", our.Method)
		case m.Seq <= t.Floor.Seq:
			begun = true
			v.Older++
		default:
			begun = true
			if their, has := rows[m.Seq]; has { // else it was found missing
				v.pair(our, their)
			}
		}
	}
	from := passed(o.Rows, t.Floor.Chain)
	for _, row := range t.Rows {
		switch {
		case known[row.ID]:
		case row.Seq <= from:
			v.Older++
		default:
			v.found(AtAgent, Unknown, row.Seq, row.ID, "the agent has run %s, of which the gateways have no row", row.Method)
		}
	}
}

// passed is the place in the agent's chain up to which the gateways' rows may have left their window.
func passed(rows []etcdschema.AuditRow, chain string) int64 {
	if len(rows) > 0 && rows[0].Seq > 1 && rows[0].Top.Chain == chain {
		return rows[0].Top.Seq
	}
	return 0
}

// pair compares the two rows of one command.
func (v *Verdict) pair(our etcdschema.AuditRow, their agentpoll.Row) {
	v.Compared++
	differs := func(what string) {
		v.found(AtAgent, Changed, their.Seq, our.ID, "%s: row %d of the agent has another %s than row %d of the gateways", our.Method, their.Seq, what, our.Seq)
	}
	switch {
	case our.ID != their.ID:
		differs("command (" + their.Method + ")")
	case our.Method != their.Method:
		differs("method (" + their.Method + ")")
	case !same(our.Command, their.Command):
		differs("digest of what was asked")
	case !same(our.Result, their.Result):
		differs("digest of the result")
	case !bytes.Equal(our.Agent.Link, their.Link):
		differs("link, so it or one before it was written anew")
	}
}

// same compares digests. An agent that was told no key of commands has none.
func same(our, their []byte) bool { return len(their) == 0 || bytes.Equal(our, their) }
