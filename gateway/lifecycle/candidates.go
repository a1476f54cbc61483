package lifecycle

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// setPolicy gives the set another policy. How many acknowledgements a source asks for is changed by beginning anew: until it waits for
// so many, nobody can take its place.
func (d *decision) setPolicy() error {
	asked, had := d.event.Policy, d.Set.Failover
	if asked == nil && had == nil {
		return nil
	}
	now := etcdschema.Failover{Off: true}
	if had != nil {
		now = *had
	}
	what := "failover is manual from now on"
	if now.Off = asked == nil; !now.Off {
		if now.Acks != asked.Acks {
			now.Candidates = nil
		}
		now.Acks, now.Grace, now.Strict, now.Bounded = asked.Acks, asked.Grace, asked.Strict, asked.Bounded
		what = fmt.Sprintf("failover is automatic from now on: %d acknowledgements, after %ds without the source", now.Acks, now.Grace)
	} else {
		now.Candidates = nil
	}
	now.Check, now.Said = d.now, ""
	d.Set.Failover, d.Changed, d.SetChanged = &now, true, true
	d.tellOf(d.Set.Source(), "note", what)
	return nil
}

// arrange has the source wait for the replicas that follow it, one change at a time.
func (d *decision) arrange(source Member) {
	f := d.policy()
	if _, away := d.event.Gone[source.ID]; away || source.Service.Service != datastores.StatusHealthy || source.Operation != nil && !harmless(source.Operation.Kind) {
		return
	}
	d.waitForNone()
	able := d.able()
	var more, less []string
	for _, id := range able {
		if !slices.Contains(f.Candidates, id) {
			more = append(more, id)
		}
	}
	for _, id := range f.Candidates {
		if !slices.Contains(able, id) && !d.joins(id) {
			less = append(less, id)
		}
	}
	stay := slices.DeleteFunc(slices.Clone(f.Candidates), func(id string) bool { return slices.Contains(less, id) })
	fenced := slices.DeleteFunc(slices.Clone(f.Fenced), func(id string) bool { return !d.mayStand(id) })
	armed := len(f.Candidates) > 0
	follow := len(f.Candidates) - len(slices.DeleteFunc(slices.Clone(f.Candidates), func(id string) bool { return slices.Contains(able, id) }))
	if follow >= f.Acks || !armed {
		f.Short = time.Time{}
	}
	few := fmt.Sprintf("%d of its replicas follow it closely enough, of %d for which it is to wait", follow, f.Acks)
	if !armed {
		few = fmt.Sprintf("%d of its replicas follow it, of %d for which it is to wait", len(able), f.Acks)
	}
	switch {
	case f.Off && !f.Waits:
		d.Set.Failover = nil
	case f.Off:
		d.relax("failover is manual")
	case !armed && len(able) >= f.Acks:
		f.Waits = true
		d.beginArrange(able, able, "the source is to wait for "+strings.Join(able, ", "))
	case !armed && f.Waits && !f.Strict:
		d.relax("the source waits for nobody, and no failover is possible: " + few)
	case !armed:
		d.says("no failover is possible: " + few)
		d.haveFollow()
	case len(fenced) > 0: // a failover has not come to its end and the source is back, or something was done to them
		d.beginArrange(f.Candidates, fenced, "candidates are to acknowledge again: "+strings.Join(fenced, ", "))
	case len(more) > 0:
		f.Candidates = append(slices.Clone(f.Candidates), more...) // here first
		d.beginArrange(f.Candidates, more, "the source is to wait for "+strings.Join(more, ", ")+", too")
	case follow < f.Acks:
		d.short(few)
	case len(less) > 0:
		d.beginArrange(stay, nil, "the source is not to wait any more for "+strings.Join(less, ", "))
	default:
		d.says("")
		d.haveFollow()
	}
}

// mayStand reports whether a candidate can be told to acknowledge.
func (d *decision) mayStand(id string) bool {
	m, in := d.Set.Member(id), d.look(id)
	return slices.Contains(d.Set.Failover.Candidates, id) && !d.away(id) && m.Role == etcdschema.RoleReplica && m.State == "" &&
		!astray(in.Failed) && in.Service.Service == datastores.StatusHealthy && (in.Operation == nil || harmless(in.Operation.Kind))
}

// standsAgain has a candidate told to acknowledge again that something was done to by which its server may have forgotten it.
func (d *decision) standsAgain(before etcdschema.Instance) {
	was, is, f := before.Operation, d.Instance.Operation, d.Set.Failover
	if was == nil || is != nil || harmless(was.Kind) || f == nil || d.SetGone || !slices.Contains(f.Candidates, before.ID) || slices.Contains(f.Fenced, before.ID) {
		return
	}
	f = d.policy()
	f.Fenced, f.Check = append(slices.Clone(f.Fenced), before.ID), d.now
}

func (d *decision) away(id string) bool { _, away := d.event.Gone[id]; return away }

// able are the replicas that follow the source and can be asked. A replica that could not be made to follow may follow another server still.
func (d *decision) able() (ids []string) {
	for _, m := range d.Set.Members {
		if m.Role != etcdschema.RoleReplica || m.State != "" || d.away(m.ID) {
			continue
		}
		in := d.look(m.ID)
		f := in.Service.Replication
		if in.Prepared && !astray(in.Failed) && in.Service.Service == datastores.StatusHealthy && f != nil && f.Follows && (in.Operation == nil || harmless(in.Operation.Kind)) {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// short waits for the grace period while so few candidates follow that the source's writes wait; then, unless the policy is strict, it
// waits for nobody.
func (d *decision) short(few string) {
	f := d.policy()
	d.began(&f.Short)
	if f.Strict || d.now.Sub(f.Short) < graceOf(*f) {
		d.says("writes wait: " + few)
		d.haveFollow()
		return
	}
	d.relax("the source waits for nobody, and no failover is possible: " + few)
}

// relax has the source wait for nobody. Here that is so first.
func (d *decision) relax(why string) {
	f := d.policy()
	f.Candidates, f.Short = nil, time.Time{}
	d.says(why)
	d.beginArrange(nil, nil, "the source is to wait for nobody")
}

// rejoinPause is between two tries of a server to follow the source of a failover.
const rejoinPause = 30 * time.Second

// haveFollow has a replica follow again that does not, and is there. What it has and the source lacks stays: then it is a person's to decide. What a server
// has that was to follow the source of a failover does not: nobody was told that it was stored.
func (d *decision) haveFollow() {
	for _, m := range d.Set.Members {
		if m.Role != etcdschema.RoleReplica || m.State != "" || d.away(m.ID) {
			continue
		}
		in := d.look(m.ID)
		f := in.Service.Replication
		tried := in.Fault != nil && !in.Fault.Created.After(d.now) && d.now.Sub(in.Fault.Created) < rejoinPause
		strays := in.Failed == "" && in.Service.Service == datastores.StatusHealthy && f != nil && !f.Follows && (f.Since.After(d.now) || d.now.Sub(f.Since) >= graceOf(*d.Set.Failover))
		late := triedAgain(in.Failed) && !tried // its server may be stopped, to be rewound
		if in.Operation != nil || !strays && !late {
			continue
		}
		if d.as(m.ID, Event{Type: AskFollow}) == nil {
			return
		}
	}
}

// beginArrange has those that are to stand do so, and then the source wait for the candidates.
func (d *decision) beginArrange(candidates, stand []string, message string) {
	acks := d.Set.Failover.Acks
	if len(candidates) == 0 {
		acks = 0
	}
	d.beginSet(Arrange, d.Set.Source())
	op := d.setOperation()
	op.Candidates, op.Acks, op.Waiting = candidates, acks, stand
	d.tellOf(op.Lead, "note", message)
	d.standNext()
}

func (d *decision) standNext() {
	op := d.setOperation()
	if len(op.Waiting) == 0 {
		op.Ceased = d.ceased()
		d.enterSet(Awaiting, d.Set.Source(), "asked the source's guest for whom it waits")
		return
	}
	d.enterSet(Standing, op.Waiting[0], "asked replica "+op.Waiting[0]+" to acknowledge what it receives")
}

// letIn makes whoever the source of a bounded set is about to let in one of its candidates first: as soon as he follows it hears of him. Until
// he can be asked nobody takes its place for whom he is needed.
func (d *decision) letIn(id string) {
	if f := d.Set.Failover; f != nil && f.Bounded && len(f.Candidates) > 0 && !slices.Contains(f.Candidates, id) {
		f = d.policy()
		f.Candidates = append(slices.Clone(f.Candidates), id)
	}
}

// joins reports whether a replica of a bounded set may be let in by its source, and cannot be asked yet.
func (d *decision) joins(id string) bool {
	m, in := d.Set.Member(id), d.look(id)
	return d.Set.Failover.Bounded && m.Role == etcdschema.RoleReplica && m.State != etcdschema.MemberLeaving && in.Operation != nil && !harmless(in.Operation.Kind)
}

// joining are those of a bounded set who may have been let in while the source was asked.
func (d *decision) joining() (ids []string) {
	for _, id := range d.Set.Replicas() {
		if d.joins(id) && !slices.Contains(d.Set.Operation.Candidates, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// ceased are those for whom the source is not to wait. That of a bounded set shuts out whoever is no candidate.
func (d *decision) ceased() (ids []string) {
	op, f := d.Set.Operation, d.Set.Failover
	ids = slices.Clone(f.Candidates)
	if f.Bounded && op.Acks > 0 {
		ids = append(ids, d.Set.Replicas()...)
	}
	slices.Sort(ids)
	return slices.DeleteFunc(slices.Compact(ids), func(id string) bool { return slices.Contains(op.Candidates, id) || d.joins(id) })
}

func (d *decision) stands() error {
	op := d.setOperation()
	op.Waiting = slices.DeleteFunc(slices.Clone(op.Waiting), func(id string) bool { return id == op.Agent })
	f := d.policy()
	f.Fenced = slices.DeleteFunc(slices.Clone(f.Fenced), func(id string) bool { return id == op.Agent })
	d.standNext()
	return nil
}

// awaits goes on when the source waits. What it has acknowledged before all candidates must have when there were none, and when one ceases: it
// may be the only one that has what was acknowledged for its sake.
func (d *decision) awaits() error {
	var p datastores.Position
	if err := json.Unmarshal(d.event.Value, &p); err != nil {
		return d.notArranged()
	}
	op := d.setOperation()
	had := d.Set.Failover.Candidates
	ceases := slices.ContainsFunc(had, func(id string) bool { return !slices.Contains(op.Candidates, id) })
	if len(op.Candidates) > 0 && (len(had) == 0 || ceases) {
		op.Position, op.Waiting = &p, op.Candidates
		d.levelNext()
		return nil
	}
	d.arranged()
	return nil
}

func (d *decision) levelNext() {
	op := d.setOperation()
	if len(op.Waiting) == 0 {
		d.arranged()
		return
	}
	d.enterSet(Levelling, op.Waiting[0], "waiting for candidate "+op.Waiting[0]+" to have all of "+op.Position.ID)
}

func (d *decision) levelled() error {
	op := d.setOperation()
	op.Waiting = slices.DeleteFunc(slices.Clone(op.Waiting), func(id string) bool { return id == op.Agent })
	d.levelNext()
	return nil
}

// arranged writes down for whom the source waits.
func (d *decision) arranged() {
	op, f := *d.Set.Operation, d.policy()
	f.Candidates, f.Waits, f.Check = op.Candidates, op.Acks > 0, d.now.Add(time.Second)
	if f.Waits {
		f.Candidates = append(slices.Clone(f.Candidates), d.joining()...)
	}
	f.Fenced = slices.DeleteFunc(slices.Clone(f.Fenced), func(id string) bool { return !slices.Contains(f.Candidates, id) })
	d.endSet()
	if f.Off && !f.Waits {
		d.Set.Failover = nil
	}
	if op.Acks == 0 {
		d.tellOf(op.Lead, "done", "the source waits for nobody")
		return
	}
	d.says("")
	d.tellOf(op.Lead, "done", fmt.Sprintf("the source waits for %d of %s, any of whom can take its place", op.Acks, strings.Join(op.Candidates, ", ")))
}

// notArranged leaves it to the next look: whom the source waits for may be less or more than what is written here, and whatever it is, who
// decides is enough.
func (d *decision) notArranged() error {
	reason, agent := d.reason(), d.Set.Operation.Agent
	d.withdraw()
	d.endSet()
	f := d.policy()
	f.Check = d.now.Add(pauseOf(*f))
	d.says("whom the source waits for could not be changed: " + agent + ": " + reason)
	return nil
}
