package lifecycle

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// eject puts the most advanced replica in the place of a source that is gone. Every replica is asked how far it has come.
func (d *decision) eject() error {
	source := d.look(d.event.Member)
	if len(source.Replicas()) == 0 {
		return &NotAllowed{fmt.Sprintf("Instance %s is not a replica source.", source.ID)}
	}
	if source.Operation != nil || source.isHeld() {
		return notAllowed(source)
	}
	var able []string // a replica that never was ready has nothing to say
	for _, m := range d.Set.Members {
		switch {
		case m.ID == source.ID || m.State == etcdschema.MemberLeaving:
		case m.State == "":
			able = append(able, m.ID)
		case d.look(m.ID).Operation != nil:
			return notAllowed(d.look(m.ID))
		}
	}
	if len(able) == 0 {
		return &NotAllowed{fmt.Sprintf("No replica of instance %s is ready to take its place.", source.ID)}
	}
	if first := d.look(able[0]); first.Operation != nil {
		return notAllowed(first)
	}
	d.beginSet(Eject, source.ID)
	d.setOperation().Waiting = able
	d.askNext()
	return nil
}

// askNext asks the next replica. A replica that is busy with something of its own could not become the source now, and may have come
// furthest: then the ejection ends.
func (d *decision) askNext() {
	op := d.setOperation()
	next := op.Waiting[0]
	if busy := d.look(next).Operation; busy != nil {
		d.failSet(fmt.Sprintf("replica %s is busy with its %s; eject the source again when that has ended", next, busy.Kind))
		return
	}
	op.Waiting = op.Waiting[1:]
	d.enterSet(Electing, next, "asked replica "+next+" how far it has come")
}

func (d *decision) voted() error {
	var p datastores.Position
	if err := json.Unmarshal(d.event.Value, &p); err != nil {
		return d.abstained()
	}
	op := d.setOperation()
	op.Votes = maps.Clone(op.Votes)
	if op.Votes == nil {
		op.Votes = map[string]datastores.Position{}
	}
	op.Votes[op.Agent] = p
	d.count()
	return nil
}

// abstained goes on without a replica that cannot be asked.
func (d *decision) abstained() error {
	d.abstain(d.reason())
	return nil
}

func (d *decision) abstain(reason string) {
	op := d.setOperation()
	if op.Command != "" {
		d.Drop = &Command{ID: op.Command, Agent: op.Agent}
	}
	d.tellOf(op.Lead, "note", "replica "+op.Agent+" has no vote: "+reason)
	d.count()
}

// count asks the next replica, or when all have been asked has the one that has come furthest made the source. When that fails the
// roles are as they were, and an ejection may be asked for again.
func (d *decision) count() {
	op := d.setOperation()
	if len(op.Waiting) > 0 {
		d.askNext()
		return
	}
	best := ""
	for _, m := range d.Set.Members {
		if p, ok := op.Votes[m.ID]; ok && (best == "" || p.Count > op.Votes[best].Count) {
			best = m.ID
		}
	}
	op.Command = ""
	if best == "" {
		d.failSet("no replica could be asked how far it has come")
		return
	}
	source := d.member(op.Lead)
	if !lasts(source.Failed) {
		source.Failed = Eject
	}
	d.faultOf(source, "the source is ejected; "+best+" takes its place. What this one has taken since may be missing there")
	op.Lead, op.Votes = best, nil
	d.enterSet(Promoting, best, "it has come furthest of the replicas; asked its guest to make it the source")
}

// ejected takes the old source out of the set. Should it come back it is told to refuse writes.
func (d *decision) ejected(id, by string) {
	old := d.member(id)
	old.Updated, old.Failed = d.now, Fence
	old.Fault = &etcdschema.Fault{Created: d.now, Message: "it was ejected, and " + by +
		" took its place: what this one has taken since may be missing there. reset_status lets it take writes again, as an instance of its own"}
	d.send(Command{ID: d.newID(), Subject: by, Agent: id, Method: datastores.MethodMakeReadOnly, ReadOnly: true, Deadline: d.now.Add(patience)})
	d.exclude(old)
}
