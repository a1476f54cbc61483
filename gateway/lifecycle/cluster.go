package lifecycle

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// Kinds of operations of clusters.
const (
	Build         = "build"
	Grow          = "grow"
	Shrink        = "shrink"
	Roll          = "roll" // an operation of every member, one after the other: Event.Each
	BackUpCluster = "backup_cluster"
	Mend          = "mend" // what failed half way is gone on with
	Dissolve      = "dissolve"
)

// Somebody asked for an operation of a cluster: its Ask.
const (
	AskBuild         EventType = "ask_build"
	AskGrow          EventType = "ask_grow"
	AskShrink        EventType = "ask_shrink"
	AskRoll          EventType = "ask_roll"
	AskBackUpCluster EventType = "ask_backup_cluster"
	AskMend          EventType = "ask_mend"
	AskDissolve      EventType = "ask_dissolve"
)

// Steps of operations of clusters. In all but one, members have operations of their own, and the end of each lets the set go on.
const (
	Gathering Step = "gather" // new members are made, all at once
	Joining   Step = "unite"  // they join
	Settling  Step = "settle" // one member has all do their part, and waits until the cluster is well
	Parting   Step = "part"   // members leave, one after the other
	Dropping  Step = "drop"   // members are deleted
	Keeping   Step = "keep"   // members make the parts of a backup, all at once
	Rolling   Step = "roll"   // members have the operation that was asked for, one after the other
)

func clusterOperations() []Operation {
	return []Operation{
		{Kind: Build, Status: StatusBuild, Does: "make a cluster", first: []Step{Gathering}, begin: (*decision).build},
		{Kind: Grow, Harmless: true, Does: "add members", first: []Step{Gathering}, begin: (*decision).grow},
		{Kind: Shrink, Harmless: true, Does: "take members away", first: []Step{Parting, Dropping}, begin: (*decision).shrink},
		{Kind: Roll, Harmless: true, Does: "restart, upgrade or configure every member, one after the other", first: []Step{Rolling}, begin: (*decision).roll},
		{Kind: BackUpCluster, Harmless: true, Does: "make a backup of the cluster, of one member or of one of each shard", first: []Step{Keeping}, begin: (*decision).backUpCluster},
		{Kind: Mend, Harmless: true, Does: "go on with what failed half way", first: []Step{Joining, Parting, Settling, Dropping}, begin: (*decision).mend},
		{Kind: Dissolve, Status: StatusShutdown, Does: "delete all members", first: []Step{Dropping}, begin: (*decision).dissolve},
	}
}

func clusterSteps() []StepRow {
	return []StepRow{
		{Step: Gathering, Does: "new members are made, all at once, each by an operation of its own"},
		{Step: Joining, Does: "new members join, the first one alone, each by an operation of its own"},
		{Step: Settling, Actor: LeadGuest, Method: datastores.MethodClusterSettle, Does: "has every member do its part, and waits until the cluster is well", Limit: stall, Progress: true},
		{Step: Parting, Does: "members leave, one after the other, each by an operation of its own"},
		{Step: Dropping, Does: "members are deleted, some at a time, each by an operation of its own"},
		{Step: Keeping, Does: "members make the parts of a backup, all at once, each by an operation of its own"},
		{Step: Rolling, Does: "members have the operation that was asked for, one after the other; the cluster settles after each"},
	}
}

// clusterRowsOf makes the table of clusters.
func clusterRowsOf(operations []Operation, steps []StepRow, asks []EventType) []Row {
	var rows []Row
	for _, op := range operations {
		rows = append(rows, op.rows()...)
	}
	rows = append(rows, []Row{
		{Idle, ResetStatus, []Step{Idle}, (*decision).resetCluster},
		{Settling, Done, []Step{Dropping, Rolling, Idle}, (*decision).settled},
		{Settling, Failed, []Step{Idle}, (*decision).notSettled},
		{Settling, Overdue, []Step{Idle}, (*decision).notSettled},
	}...)
	for _, step := range steps {
		rows = append(rows, Row{step.Step, ResetStatus, []Step{Idle}, (*decision).resetCluster})
		for _, ask := range asks {
			rows = append(rows, Row{step.Step, ask, []Step{step.Step}, (*decision).clusterBusy})
		}
		if step.Step != Settling {
			rows = append(rows, Row{step.Step, Overdue, []Step{step.Step, Idle}, (*decision).waitOn})
		}
	}
	return rows
}

// ClusterOperations returns the table of what can be asked of a cluster.
func ClusterOperations() []Operation { return slices.Clone(standard().clusterOperations) }

// ClusterSteps returns the rows of all steps of clusters.
func ClusterSteps() []StepRow { return slices.Clone(standard().clusterSteps) }

// ClusterTable returns the life cycle of clusters.
func ClusterTable() []Row { return slices.Clone(standard().clusterRows) }

// StallSet is [Stall] of the operation of a set.
func StallSet(set etcdschema.Set, now time.Time) time.Time {
	op := set.Operation
	if limit := now.Add(stall); standard().step(Step(op.Step)).Progress && limit.After(op.Deadline) {
		return limit
	}
	return op.Deadline
}

func (d *decision) clusterBusy() error {
	op := d.Set.Operation
	return &NotAllowed{fmt.Sprintf("Cluster %s is busy: its %s is at step %q. Wait until it ends, have an admin give it up with reset-status, or delete the cluster with reset-status and {\"force_delete\": true}.", d.Set.ID, op.Kind, op.Step)}
}

// in are the ids of the members that stand so.
func (d *decision) in(states ...etcdschema.MemberState) (ids []string) {
	for _, m := range d.Set.Members {
		if slices.Contains(states, m.State) {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// lead is the member whose timeline tells of an operation: one that is in the cluster, or the first one.
func (d *decision) lead() string { return append(d.in(""), d.Set.Members[0].ID)[0] }

// build makes the first members. They are in the set, and their own creates begin in the same transaction.
func (d *decision) build() error {
	d.Set.Created = d.now
	return d.gather(Build)
}

func (d *decision) grow() error {
	if err := cmp.Or(d.mendFirst(), d.undisturbed()); err != nil {
		return err
	}
	return d.gather(Grow)
}

func (d *decision) gather(kind string) error {
	d.Set.Members = slices.Concat(d.Set.Members, d.event.New)
	d.beginSet(kind, d.lead())
	op := d.setOperation()
	for _, m := range d.event.New {
		op.Turn = append(op.Turn, m.ID)
	}
	d.each(Gathering, nil, fmt.Sprintf("%d members are being made", len(op.Turn)))
	return nil
}

// mendFirst refuses to go on to something else when members are left half way.
func (d *decision) mendFirst() error {
	if half := d.in(etcdschema.MemberOutside, etcdschema.MemberLeaving, etcdschema.MemberLeft); len(half) > 0 || d.Set.Failed != "" && d.Set.Failed != Roll {
		return &NotAllowed{fmt.Sprintf("The %s of cluster %s has failed, and its fault says why. Have it gone on with first (the action mend), or take members away that never were ready.", d.Set.Failed, d.Set.ID)}
	}
	return nil
}

// undisturbed refuses to begin while a member is at something of its own, such as its modules: it could not have its turn.
func (d *decision) undisturbed() error {
	for _, id := range d.in("") {
		if op := d.look(id).Operation; op != nil && !slices.Contains(d.event.Lost, id) {
			return &NotAllowed{fmt.Sprintf("Cluster %s is busy: its member %s is at step %q of an operation of its own. Wait until that ends, or delete the cluster.", d.Set.ID, id, op.Step)}
		}
	}
	return nil
}

// shrink takes members away: those that are in it leave one after the other, and then all of them are deleted.
func (d *decision) shrink() error {
	if err := d.undisturbed(); err != nil {
		return err
	}
	going := d.event.Members
	stay := slices.DeleteFunc(d.in(""), func(id string) bool { return slices.Contains(going, id) })
	if least := d.least(); len(stay) < least {
		return &NotAllowed{fmt.Sprintf("Cluster %s would have %d members that are in it, and needs %d. Delete the cluster, or add others first.", d.Set.ID, len(stay), least)}
	}
	d.beginSet(Shrink, stay[0])
	for _, id := range going {
		switch state := d.Set.Member(id).State; {
		case state == etcdschema.MemberLost || slices.Contains(d.event.Lost, id):
			d.setState(id, etcdschema.MemberLost)
		case state == "" || state == etcdschema.MemberLeaving:
			d.setState(id, etcdschema.MemberLeaving)
		default:
			d.setState(id, etcdschema.MemberLeft) // it never was in it
		}
	}
	d.goOn()
	return nil
}

func (d *decision) least() int {
	if d.Set.Shape == nil {
		return 1
	}
	return max(1, d.Set.Shape.MinMembers)
}

// roll has every member do something of its own, one after the other.
func (d *decision) roll() error {
	if err := cmp.Or(d.mendFirst(), d.undisturbed()); err != nil {
		return err
	}
	d.beginSet(Roll, d.lead())
	op := d.setOperation()
	op.Each, op.Target = d.event.Each, d.event.Target
	waiting := slices.DeleteFunc(d.in(""), func(id string) bool { // it is done already, by an upgrade that failed at another one
		return op.Each == Upgrade && d.look(id).Version == op.Target.Version.Version
	})
	d.each(Rolling, waiting, "the "+op.Each+" of all members begins, one after the other")
	return nil
}

// mend goes on with what failed: whoever has not joined does, and whoever was to leave leaves.
func (d *decision) mend() error {
	for _, id := range d.in(etcdschema.MemberMaking) {
		return &NotAllowed{fmt.Sprintf("Member %s of cluster %s could not be made, and its fault says why. Take it away first (the action shrink), or delete the cluster.", id, d.Set.ID)}
	}
	if err := d.undisturbed(); err != nil {
		return err
	}
	d.beginSet(Mend, d.lead())
	d.goOn()
	return nil
}

// dissolve deletes all members, whatever they are doing.
func (d *decision) dissolve() error {
	d.beginSet(Dissolve, d.Set.Members[0].ID)
	d.dropAll()
	return nil
}

func (d *decision) dropAll() {
	var all []string
	for _, m := range d.Set.Members {
		all = append(all, m.ID)
	}
	d.each(Dropping, all, "all members are being deleted")
}

// goOn finds what is next to do from where the members stand: to join, to leave, to settle, to be deleted. When nothing is left of that the
// operation has ended well.
func (d *decision) goOn() {
	outside, leaving, in := d.in(etcdschema.MemberOutside), d.in(etcdschema.MemberLeaving), d.in("")
	switch {
	case len(outside) > 0 && len(in) == 0:
		d.each(Joining, outside[:1], "the first member founds the cluster")
	case len(outside) > 0:
		d.each(Joining, outside, fmt.Sprintf("%d members join", len(outside)))
	case len(leaving) > 0:
		d.each(Parting, leaving, fmt.Sprintf("%d members leave", len(leaving)))
	default:
		d.settle()
	}
}

// settle asks a member that stays; after a turn of its own the one whose turn it was.
func (d *decision) settle() {
	lead := d.lead()
	d.setOperation().Lead = lead
	d.enterSet(Settling, lead, "asked the guest to have every member do its part, and to wait until the cluster is well")
}

func (d *decision) settled() error {
	op := d.setOperation()
	op.Command = ""
	if op.Kind == Roll && len(op.Waiting) > 0 {
		d.each(Rolling, op.Waiting, "the cluster is well; the next member")
		return nil
	}
	left := slices.DeleteFunc(d.in(etcdschema.MemberLeft, etcdschema.MemberLost), func(id string) bool {
		op := d.look(id).Operation
		return op != nil && op.Kind == Delete // of one that is lost, whose host has been asked
	})
	if len(left) > 0 {
		d.each(Dropping, left, "the cluster does without them; the members that left are being deleted")
		return nil
	}
	d.endCluster()
	return nil
}

func (d *decision) notSettled() error {
	op := d.Set.Operation
	d.failSet(fmt.Sprintf("member %s: %s", d.named(op.Lead), d.reason()))
	return nil
}

// endCluster ends an operation well.
func (d *decision) endCluster() {
	op := d.Set.Operation
	lead := op.Lead
	if d.Set.Member(lead).ID == "" { // all are deleted but those that are lost
		lead = d.lead()
	}
	d.endSet()
	d.Set.Failed, d.Set.Fault = "", nil
	what := op.Kind
	if op.Kind == Roll {
		what = op.Each + " of all members"
	}
	if t := op.Target; t != nil && t.Configuration != nil {
		d.Set.Configuration = *t.Configuration
	}
	if t := op.Target; t != nil && t.Version != nil {
		d.Set.Version = t.Version.Version
	}
	d.tellOf(lead, "done", "the cluster is well; its "+what+" has ended")
}

// resetCluster gives the operation up. Members go on with what they do by themselves. What is left half way the fault says.
func (d *decision) resetCluster() error {
	switch op := d.Set.Operation; {
	case op != nil && op.Kind == BackUpCluster:
		d.setOperation().Reason = "the status was reset"
		d.kept()
	case op != nil:
		d.failSet("the status was reset")
	}
	if len(d.in(etcdschema.MemberMaking, etcdschema.MemberOutside, etcdschema.MemberLeaving, etcdschema.MemberLeft)) == 0 {
		d.Set.Failed, d.Set.Fault = "", nil
	}
	d.Changed, d.SetChanged = true, true
	return nil
}

// named is how a fault calls a member.
func (d *decision) named(id string) string { return d.look(id).Name + " (" + id + ")" }

// Of members.

// mayJoin lets those join that have a server of their own.
func mayJoin(m Member) error {
	if m.Set.Member(m.ID).State != etcdschema.MemberOutside {
		return &NotAllowed{fmt.Sprintf("Instance %s is not to join a cluster.", m.ID)}
	}
	return Free(m)
}

func mayLeave(m Member) error {
	if m.Set.Member(m.ID).State != etcdschema.MemberLeaving {
		return &NotAllowed{fmt.Sprintf("Instance %s is not to leave a cluster.", m.ID)}
	}
	return Free(m)
}

func (d *decision) joined() error {
	if len(d.in("")) == 0 && d.Instance.RootEnabled { // which a backup may have brought, and the others take over
		for _, m := range d.Set.Members {
			if d.look(m.ID).RootEnabled {
				continue
			}
			other := d.member(m.ID)
			other.RootEnabled, other.RootEnabledAt, other.RootEnabledBy = true, d.Instance.RootEnabledAt, d.Instance.RootEnabledBy
		}
	}
	d.setState(d.Instance.ID, "")
	d.finish("the instance is a member of the cluster")
	return nil
}

func (d *decision) left() error {
	d.setState(d.Instance.ID, etcdschema.MemberLeft)
	d.finish("the cluster does without the instance")
	return nil
}
