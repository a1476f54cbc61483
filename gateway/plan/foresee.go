package plan

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// Step is one that an operation goes through.
type Step struct {
	Instance string // whose step it is; of a set's step whose guest does it
	Step     lifecycle.Step
	Does     string // who does what
	// Without is what clients do without meanwhile: "server", "writes" or nothing.
	Without string
}

// mostSteps bounds what is foreseen.
const mostSteps = 200

// Foresee plays out what goes on after a decision, as if everybody did at once what they are asked for, and nothing failed. The records of
// the snapshot are those after the decision.
func Foresee(s etcdschema.Snapshot, after lifecycle.Member, now time.Time) ([]Step, error) {
	f := &foresight{snap: s, self: after.ID, set: after.Set, members: map[string]etcdschema.Instance{}, now: now}
	if after.ID != "" {
		f.members[after.ID] = after.Instance
	}
	for _, m := range after.Set.Members {
		if _, err := f.read(m.ID); err != nil {
			return nil, err
		}
	}
	f.look()
	for len(f.steps) < mostSteps {
		on, err := f.goOn()
		if err != nil {
			return nil, err
		}
		if !on {
			break
		}
		f.look()
	}
	return f.steps, nil
}

type foresight struct {
	snap    etcdschema.Snapshot
	self    string
	set     etcdschema.Set
	members map[string]etcdschema.Instance
	now     time.Time
	steps   []Step
	at      map[string]string // where each operation was seen last
}

func (f *foresight) read(id string) (etcdschema.Instance, error) {
	if in, known := f.members[id]; known {
		return in, nil
	}
	rec, err := etcdschema.Read(f.snap, etcdschema.InstanceKey(f.set.Project, id))
	if err == nil && rec.Found {
		f.members[id] = rec.Value
	}
	return rec.Value, err
}

// goOn lets the next command that somebody waits for end well, and reports whether there was one.
func (f *foresight) goOn() (bool, error) {
	if op := f.set.Operation; op != nil && op.Command != "" {
		d, err := lifecycle.DecideSet(f.set, f.event(op.Operation), f.now, NewID)
		return f.take(d, err)
	}
	ids := []string{f.self}
	for _, m := range f.set.Members {
		ids = append(ids, m.ID)
	}
	for _, id := range ids {
		in, known := f.members[id]
		if !known || in.Operation == nil {
			continue
		}
		e := f.event(*in.Operation)
		switch {
		case lifecycle.StepOf(in) == lifecycle.Enrolling:
			e.Type = lifecycle.Enrolled
		case in.Operation.Command == "":
			continue
		}
		m := lifecycle.Alone(in)
		if in.SetID != "" {
			m.Set = f.set
		}
		d, err := lifecycle.Decide(m, e, f.now, NewID)
		return f.take(d, err)
	}
	return false, nil
}

// event is the good end of what an operation waits for, with a result that any step can read.
func (f *foresight) event(op etcdschema.Operation) lifecycle.Event {
	value, _ := json.Marshal(map[string]any{"backup_id": op.Backup, "id": "x", "count": 1})
	return lifecycle.Event{Type: lifecycle.Done, Command: op.Command, Value: value, Read: f.read}
}

func (f *foresight) take(d lifecycle.Decision, err error) (bool, error) {
	if err != nil || !d.Changed || slices.ContainsFunc(d.Events, func(l lifecycle.Line) bool { return l.Kind == "fault" }) {
		return false, err
	}
	for _, in := range append(d.Peers, d.Instance) {
		if in.ID != "" {
			f.members[in.ID] = in
		}
	}
	if d.Gone {
		delete(f.members, d.Instance.ID)
	}
	f.set = d.Set
	return true, nil
}

// look notes the steps that operations have come to.
func (f *foresight) look() {
	is := map[string]string{}
	note := func(whose string, op *etcdschema.Operation) {
		if op == nil {
			return
		}
		if is[whose] = op.Step + " " + op.Command; f.at[whose] == is[whose] {
			return
		}
		f.steps = append(f.steps, stepOf(cmp.Or(whose, op.Agent), *op))
	}
	if op := f.set.Operation; op != nil {
		note("", &op.Operation)
	}
	note(f.self, f.members[f.self].Operation)
	for _, m := range f.set.Members {
		if m.ID != f.self {
			note(m.ID, f.members[m.ID].Operation)
		}
	}
	f.at = is
}

func stepOf(instance string, op etcdschema.Operation) Step {
	step := Step{Instance: instance, Step: lifecycle.Step(op.Step)}
	for _, row := range slices.Concat(lifecycle.StepTable(), lifecycle.SetSteps(), lifecycle.ClusterSteps()) {
		if row.Step != step.Step {
			continue
		}
		if step.Does = row.Does; row.Actor != lifecycle.Nobody {
			step.Does = string(row.Actor) + " " + row.Does
		}
		m, _ := datastores.LookupMethod(row.Method)
		step.Without = m.Without
		switch row.Step {
		case lifecycle.Removing:
			step.Without = "server"
		case lifecycle.Releasing, lifecycle.Unfencing: // they let it write again
			step.Without = ""
		}
	}
	return step
}
