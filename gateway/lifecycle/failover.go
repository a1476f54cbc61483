package lifecycle

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// A failover replaces a source that is lost by one of its candidates: see [etcdschema.Failover] for whom it waits. So many candidates are told to receive
// nothing more that it can acknowledge nothing any more, wherever it is. Each says then how far it has come: whatever was acknowledged
// one of them has.

// policy returns a copy of the set's policy to change.
func (d *decision) policy() *etcdschema.Failover {
	f := *d.Set.Failover
	d.Changed, d.SetChanged = true, true
	d.Set.Failover = &f
	return &f
}

// watch looks whether the source is lost, and for whom it should wait.
func (d *decision) watch() error {
	if d.Set.Failover == nil {
		return nil
	}
	f := d.policy()
	f.Check = d.now.Add(pauseOf(*f))
	source := d.look(d.Set.Source())
	switch {
	case d.Set.GivenUp != "" || source.Failed == Fence:
		d.says("a promotion was given up before it was done: whether there is another source nobody knows. Nothing happens by itself until that is decided")
	case d.lost(source):
		d.failOver(source)
	default:
		d.arrange(source)
	}
	return nil
}

// LookAt is when a set is to be looked at; zero: never, or not before its operation has ended. A source may be lost while it is asked for whom it waits.
func LookAt(set etcdschema.Set) (at time.Time) {
	if set.Failover == nil || set.Operation != nil && set.Operation.Kind != Arrange {
		return at
	}
	return set.Failover.Check
}

// waitsOn reports whether a source that is asked for whom it waits is still expected to answer, and has it looked at again.
func (d *decision) waitsOn() bool {
	f := d.policy()
	f.Check = d.now.Add(pauseOf(*f))
	return f.Off || !d.lost(d.look(d.Set.Source()))
}

// pauseOf is the time between two looks at a set.
func pauseOf(f etcdschema.Failover) time.Duration {
	return min(max(graceOf(f)/3, time.Second), 10*time.Second)
}

func graceOf(f etcdschema.Failover) time.Duration { return time.Duration(f.Grace) * time.Second }

// lookSoon has the set looked at when a member tells that its server has become another, or follows no more.
func (d *decision) lookSoon(had datastores.Status) {
	if d.Set.Failover == nil {
		return
	}
	if d.Set.Failover.Check.Sub(d.now) > pauseOf(*d.Set.Failover) { // by a clock that was ahead
		d.policy().Check = d.now
	}
	is, was := d.Instance.Service, had
	follows := func(f *datastores.Following) bool { return f != nil && f.Follows }
	if is.Service != was.Service || follows(is.Replication) != follows(was.Replication) {
		d.policy().Check = d.now
	}
}

// says tells once what is in the way of a failover; "": nothing is any more.
func (d *decision) says(what string) {
	if d.Set.Failover.Said == what {
		return
	}
	d.policy().Said = what
	if what != "" {
		d.tellOf(d.Set.Source(), "status", what)
	}
}

// lost reports whether the source's guest has been away for the grace period, or its server has not been well for so long.
func (d *decision) lost(source Member) bool {
	f := d.policy()
	if source.Operation != nil && !harmless(source.Operation.Kind) {
		f.Down = time.Time{}
		return false // it is being resized or brought elsewhere: that ends in one way or another
	}
	if since, away := d.event.Gone[source.ID]; away && !since.After(d.now) {
		return d.now.Sub(since) >= graceOf(*f)
	} else if away {
		d.began(&f.Down)
		return d.now.Sub(f.Down) >= graceOf(*f)
	}
	if source.Service.Service == datastores.StatusHealthy || source.Operation != nil {
		f.Down = time.Time{}
		return false
	}
	d.began(&f.Down)
	return d.now.Sub(f.Down) >= graceOf(*f)
}

// began keeps when something began, at the latest now: a gateway whose clock was ahead may have written a time that is still to come, and by that nothing would be over before.
func (d *decision) began(at *time.Time) {
	if at.IsZero() || at.After(d.now) {
		*at = d.now
	}
}

// failOver begins a failover when there are candidates that can decide.
func (d *decision) failOver(source Member) {
	f := d.Set.Failover
	why := "its database server does not run"
	if _, away := d.event.Gone[source.ID]; away {
		why = "its guest is away"
	}
	var there []string
	for _, id := range f.Candidates {
		m := d.look(id)
		if _, away := d.event.Gone[id]; away || d.Set.Member(id).Role != etcdschema.RoleReplica || d.Set.Member(id).State != "" ||
			m.Operation != nil && !harmless(m.Operation.Kind) {
			continue
		}
		there = append(there, id)
	}
	switch {
	case f.Off:
		return
	case len(f.Candidates) == 0:
		d.says("the source is lost, for " + why + ", and no failover is possible: there is no candidate, so that nobody is known to have all that it has acknowledged. It goes on when the source is back; or eject it")
		return
	case len(there) < f.Quorum():
		d.says(fmt.Sprintf("the source is lost, for %s, and %d of the candidates %s have to decide, of whom %d are there. It goes on when they are, or the source is; or eject it",
			why, f.Quorum(), strings.Join(f.Candidates, ", "), len(there)))
		return
	}
	d.says("")
	since := cmp.Or(f.Down, d.now)
	if at, away := d.event.Gone[source.ID]; away && !at.IsZero() && at.Before(since) {
		since = at
	}
	now := d.policy()
	now.Fenced, now.Lost = there, since
	d.beginSet(Failover, source.ID)
	d.setOperation().Waiting = there
	d.tellOf(source.ID, "status", "the source is lost: "+why+". A candidate takes its place")
	d.haltNext()
}

// haltNext asks the next candidate, until so many have answered as decide: then the one that has come furthest is promoted.
func (d *decision) haltNext() {
	op, quorum := d.setOperation(), d.Set.Failover.Quorum()
	switch {
	case len(op.Votes) >= quorum:
		best := ""
		for _, id := range d.Set.Failover.Candidates {
			p, ok := op.Votes[id]
			if ok && best != "" && p.History != op.Votes[best].History {
				d.noFailover("candidates " + best + " and " + id + " follow different histories of the source, which began another: nobody knows which has more. It goes on when the source is back; or eject it")
				return
			}
			if ok && (best == "" || p.Count > op.Votes[best].Count) {
				best = id
			}
		}
		if in := d.look(best); in.Operation != nil && !harmless(in.Operation.Kind) {
			d.noFailover("candidate " + best + " has come furthest, and is busy or being deleted")
			return
		}
		op.Lead = best
		d.enterSet(Promoting, best, fmt.Sprintf("the source %s can acknowledge nothing any more, and %s has come furthest of %d candidates; asked its guest to make it the source", op.Former, best, len(op.Votes)))
	case len(op.Votes)+len(op.Waiting) < quorum:
		d.noFailover(fmt.Sprintf("only %d of the %d candidates that have to decide have answered", len(op.Votes), quorum))
	default:
		next := op.Waiting[0]
		op.Waiting = op.Waiting[1:]
		d.enterSet(Halting, next, "asked candidate "+next+" to receive nothing more from the source, and how far it has come")
	}
}

func (d *decision) halted() error {
	var p datastores.Position
	if err := json.Unmarshal(d.event.Value, &p); err != nil {
		return d.notHalted()
	}
	op := d.setOperation()
	op.Votes = maps.Clone(op.Votes)
	if op.Votes == nil {
		op.Votes = map[string]datastores.Position{}
	}
	op.Votes[op.Agent] = p
	d.haltNext()
	return nil
}

func (d *decision) notHalted() error {
	d.withdraw()
	d.tellOf(d.Set.Operation.Lead, "note", "candidate "+d.Set.Operation.Agent+" has not decided: "+d.reason())
	d.haltNext()
	return nil
}

// noFailover ends a failover: the roles are as they were. It is tried again as long as the source is lost; when that is back its
// candidates go on to receive.
func (d *decision) noFailover(reason string) {
	d.endSet()
	d.policy().Check = d.now.Add(pauseOf(*d.Set.Failover))
	d.says("the failover has not come to its end: " + reason + ". It is tried again as long as the source is lost")
}

// countFailover counts one that has a new source now.
func (d *decision) countFailover() {
	took := 0.0
	if f := d.Set.Failover; f != nil && !f.Lost.IsZero() {
		took = max(d.now.Sub(f.Lost), 0).Seconds()
	}
	d.Set.Failovers = etcdschema.Failovers{Count: d.Set.Failovers.Count + 1, Last: d.now, Seconds: took, Total: d.Set.Failovers.Total + took}
}

// sourceIsNew forgets whom the source before waited for. Before the new one waits for somebody nobody can take its place.
func (d *decision) sourceIsNew() {
	if d.Set.Failover == nil {
		return
	}
	f := d.policy()
	f.Candidates, f.Fenced, f.Down, f.Lost, f.Short, f.Said = nil, nil, time.Time{}, time.Time{}, time.Time{}, ""
	f.Waits = f.Strict
	f.Check = d.now.Add(time.Second)
}

// Candidate reports whether a replica may take the place of its source without being asked.
func Candidate(m Member) bool {
	return m.Set.Failover != nil && m.ReplicaOf() != "" && slices.Contains(m.Set.Failover.Candidates, m.ID)
}
