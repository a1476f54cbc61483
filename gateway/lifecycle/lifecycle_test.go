package lifecycle_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// ids makes command ids c1, c2, ….
func ids() func() string {
	n := 0
	return func() string { n++; return fmt.Sprintf("c%d", n) }
}

// at builds an instance on a host that stands at a step, a replica where only that can; one that is Idle has been ready, and is one.
func at(step lifecycle.Step) etcdschema.Instance {
	in := etcdschema.Instance{ID: "guest", Project: "p", Host: "host", Created: start, Updated: start, UsageTimeout: 600}
	kind := map[lifecycle.Step]string{
		lifecycle.Launching: lifecycle.Create, lifecycle.Enrolling: lifecycle.Create, lifecycle.Snapshotting: lifecycle.Create,
		lifecycle.Preparing: lifecycle.Create, lifecycle.Restarting: lifecycle.Restart, lifecycle.Configuring: lifecycle.Configure,
		lifecycle.BackingUp: lifecycle.Backup, lifecycle.Stopping: lifecycle.Resize, lifecycle.Resizing: lifecycle.Resize,
		lifecycle.Starting: lifecycle.Resize, lifecycle.Upgrading: lifecycle.Upgrade,
		lifecycle.Equipping: lifecycle.Upgrade, lifecycle.Reverting: lifecycle.Upgrade, lifecycle.Detaching: lifecycle.Detach, lifecycle.Entering: lifecycle.Join, lifecycle.Exiting: lifecycle.Leave,
		lifecycle.Following: lifecycle.Promote, lifecycle.Admitting: lifecycle.Follow, lifecycle.Removing: lifecycle.Delete,
		lifecycle.Quieting: lifecycle.Migrate, lifecycle.Saving: lifecycle.Migrate, lifecycle.Yielding: lifecycle.Migrate, lifecycle.Releasing: lifecycle.Migrate, lifecycle.Bundling: lifecycle.Modules,
	}[step]
	if kind != lifecycle.Create {
		in.Prepared = true
		in.Service.Service = datastores.StatusHealthy
	}
	if step == lifecycle.Idle {
		in.SetID = "set"
		return in
	}
	none := ""
	op := &etcdschema.Operation{Kind: kind, Step: string(step), Since: start, Started: start, Deadline: start.Add(time.Minute), Agent: "guest", Command: "c0", Request: "req-1"}
	switch step {
	case lifecycle.Launching, lifecycle.Removing:
		op.Agent = "host"
	case lifecycle.Enrolling:
		op.Command = ""
	case lifecycle.Configuring:
		op.Target = &etcdschema.Target{Configuration: &none}
	case lifecycle.Bundling:
		op.Target = &etcdschema.Target{Modules: &etcdschema.ModuleChange{}}
	case lifecycle.BackingUp:
		op.Backup = "b1"
	case lifecycle.Upgrading:
		op.Target = &etcdschema.Target{Version: &etcdschema.Upgrade{Version: "2"}}
	case lifecycle.Equipping:
		op.Agent, op.Target = "host", &etcdschema.Target{Version: &etcdschema.Upgrade{Version: "2"}}
	case lifecycle.Reverting:
		op.Agent, op.Target = "host", &etcdschema.Target{Version: &etcdschema.Upgrade{Version: "2", Image: "newer"}}
	case lifecycle.Stopping:
		op.Target = &etcdschema.Target{Flavor: &etcdschema.Flavor{RAM: 1024}}
	case lifecycle.Resizing:
		op.Agent, op.Target = "host", &etcdschema.Target{Flavor: &etcdschema.Flavor{RAM: 1024}}
		in.Service.Service = datastores.StatusShutdown
	case lifecycle.Yielding:
		op.Command, op.Target = "", &etcdschema.Target{Host: "other", Address: "10.0.0.2"}
	case lifecycle.Quieting, lifecycle.Saving, lifecycle.Releasing:
		op.Backup, op.Target = "b1", &etcdschema.Target{Host: "other", Address: "10.0.0.2"}
	case lifecycle.Snapshotting, lifecycle.Admitting:
		in.SetID, op.Agent = "set", "source"
	case lifecycle.Following, lifecycle.Detaching:
		in.SetID = "set"
	}
	in.Operation = op
	return in
}

// member is the instance that at builds with its set: a source, which it follows.
func member(in etcdschema.Instance) lifecycle.Member {
	m := lifecycle.Alone(in)
	if in.SetID == "" {
		return m
	}
	state := etcdschema.MemberState("")
	switch {
	case lifecycle.StepOf(in) == lifecycle.Snapshotting:
		state = etcdschema.MemberCopying
	case !in.Prepared:
		state = etcdschema.MemberMaking
	}
	m.Set = etcdschema.Set{ID: in.SetID, Members: []etcdschema.SetMember{
		{ID: "source", Role: etcdschema.RoleSource}, {ID: in.ID, Role: etcdschema.RoleReplica, State: state},
	}}
	return m
}

// others reads the source of that set.
func others(id string) (etcdschema.Instance, error) {
	return etcdschema.Instance{ID: id, SetID: "set", Project: "p", Prepared: true, Service: datastores.Status{Service: datastores.StatusHealthy}}, nil
}

// outcome is what one cell of the table leads to, in short.
type outcome struct {
	Step    lifecycle.Step
	Status  string
	Command string // method@agent
	Drop    string
	Gone    bool
	Refused bool
	Fault   bool
}

func decide(t *testing.T, in etcdschema.Instance, e lifecycle.Event, now time.Time) (lifecycle.Decision, outcome) {
	t.Helper()
	d, err := lifecycle.Decide(member(in), e, now, ids())
	o := outcome{
		Step: lifecycle.StepOf(d.Instance), Status: lifecycle.Status(member(d.Instance)), Gone: d.Gone, Refused: err != nil,
		Fault: d.Instance.Fault != nil,
	}
	for _, c := range d.Commands {
		if c.Waiter == d.Instance.ID {
			o.Command = c.Method + "@" + c.Agent
		}
	}
	if d.Drop != nil {
		o.Drop = d.Drop.ID + "@" + d.Drop.Agent
	}
	if err != nil && d.Changed {
		t.Errorf("a refused event changed something: %+v", d)
	}
	return d, o
}

func event(kind lifecycle.EventType, in etcdschema.Instance) lifecycle.Event {
	none := ""
	e := lifecycle.Event{
		Type: kind, Status: datastores.Status{Service: datastores.StatusHealthy}, Value: []byte(`{"backup_id":"b1","id":"gtid-7","count":7}`),
		Backup: "b1", Target: &etcdschema.Target{Configuration: &none, Flavor: &etcdschema.Flavor{RAM: 512}, Version: &etcdschema.Upgrade{Version: "2"}, Modules: &etcdschema.ModuleChange{}},
		Read: others,
	}
	if in.Operation != nil {
		e.Command = in.Operation.Command
	}
	if kind == lifecycle.Failed {
		e.Error = agentpoll.Errorf(agentpoll.Internal, "no space left on device")
	}
	return e
}

// TestTable holds every step against every event: what is not listed must change nothing.
func TestTable(t *testing.T) {
	const host, guest = "@host", "@guest"
	want := map[lifecycle.Step]map[lifecycle.EventType]outcome{
		lifecycle.Idle: {
			lifecycle.Created:      {Step: lifecycle.Launching, Status: "BUILD", Command: deployments.MethodLaunch + host},
			lifecycle.AskRestart:   {Step: lifecycle.Restarting, Status: "REBOOT", Command: datastores.MethodRestart + guest},
			lifecycle.AskConfigure: {Step: lifecycle.Configuring, Status: "ACTIVE", Command: datastores.MethodUpdateOverrides + guest},
			lifecycle.AskBackup:    {Step: lifecycle.BackingUp, Status: "BACKUP", Command: datastores.MethodCreateBackup + guest},
			lifecycle.AskResize:    {Step: lifecycle.Stopping, Status: "RESIZE", Command: datastores.MethodStop + guest},
			lifecycle.AskModules:   {Step: lifecycle.Bundling, Status: "ACTIVE", Command: datastores.MethodModules + guest},
			lifecycle.AskUpgrade:   {Step: lifecycle.Equipping, Status: "UPGRADE", Command: deployments.MethodLaunch + host},
			lifecycle.AskDetach:    {Step: lifecycle.Detaching, Status: "DETACH", Command: datastores.MethodDetachReplica + guest},
			lifecycle.AskMigrate:   {Step: lifecycle.Stopping, Status: "RESIZE", Command: datastores.MethodStop + guest}, // it is a replica, and gets another size
			lifecycle.AskJoin:      {Status: "ACTIVE", Refused: true},                                                    // it is in no cluster
			lifecycle.AskLeave:     {Status: "ACTIVE", Refused: true},
			lifecycle.AskFollow:    {Step: lifecycle.Admitting, Status: "BUILD", Command: datastores.MethodReplicationSnapshot + "@source"},
			lifecycle.AskDelete:    {Step: lifecycle.Removing, Status: "SHUTDOWN", Command: deployments.MethodRemove + host},
			lifecycle.ResetStatus:  {Status: "ACTIVE"},
			lifecycle.Reported:     {Status: "ACTIVE"},
		},
		lifecycle.Launching: {
			lifecycle.Done:        {Step: lifecycle.Enrolling, Status: "BUILD"},
			lifecycle.Enrolled:    {Step: lifecycle.Preparing, Status: "BUILD", Command: datastores.MethodPrepare + guest},
			lifecycle.Failed:      {Status: "ERROR", Drop: "c0" + host, Fault: true},
			lifecycle.Overdue:     {Status: "ERROR", Drop: "c0" + host, Fault: true},
			lifecycle.ResetStatus: {Status: "ERROR", Drop: "c0" + host},
		},
		lifecycle.Enrolling: {
			lifecycle.Enrolled:    {Step: lifecycle.Preparing, Status: "BUILD", Command: datastores.MethodPrepare + guest},
			lifecycle.Overdue:     {Status: "ERROR", Fault: true},
			lifecycle.ResetStatus: {Status: "ERROR"},
		},
		lifecycle.Snapshotting: {
			lifecycle.Done:        {Step: lifecycle.Preparing, Status: "BUILD", Command: datastores.MethodPrepare + guest},
			lifecycle.Failed:      {Status: "ERROR", Drop: "c0@source", Fault: true},
			lifecycle.Overdue:     {Status: "ERROR", Drop: "c0@source", Fault: true},
			lifecycle.ResetStatus: {Status: "ERROR", Drop: "c0@source"},
		},
		lifecycle.Admitting: {
			lifecycle.Done:    {Step: lifecycle.Following, Status: "BUILD", Command: datastores.MethodAttachReplica + guest},
			lifecycle.Failed:  {Status: "ERROR", Drop: "c0@source", Fault: true},
			lifecycle.Overdue: {Status: "ERROR", Drop: "c0@source", Fault: true},
		},
		lifecycle.Preparing: {
			lifecycle.Done:        {Status: "ACTIVE"},
			lifecycle.Failed:      {Status: "ERROR", Drop: "c0" + guest, Fault: true},
			lifecycle.Overdue:     {Status: "ERROR", Drop: "c0" + guest, Fault: true},
			lifecycle.ResetStatus: {Status: "ERROR", Drop: "c0" + guest},
			lifecycle.Reported:    {Step: lifecycle.Preparing, Status: "BUILD"},
		},
		lifecycle.Restarting: {
			lifecycle.Done:    {Status: "ACTIVE"},
			lifecycle.Failed:  {Status: "ERROR", Drop: "c0" + guest, Fault: true},
			lifecycle.Overdue: {Status: "ERROR", Drop: "c0" + guest, Fault: true},
		},
		lifecycle.Configuring: {
			lifecycle.Done:    {Status: "ACTIVE"},
			lifecycle.Failed:  {Status: "RESTART_REQUIRED", Drop: "c0" + guest, Fault: true},
			lifecycle.Overdue: {Status: "RESTART_REQUIRED", Drop: "c0" + guest, Fault: true},
		},
		lifecycle.BackingUp: {
			lifecycle.Done:    {Status: "ACTIVE"},
			lifecycle.Failed:  {Status: "ACTIVE", Drop: "c0" + guest},
			lifecycle.Overdue: {Status: "ACTIVE", Drop: "c0" + guest},
		},
		lifecycle.Bundling: {
			lifecycle.Done:    {Status: "ACTIVE"},
			lifecycle.Failed:  {Status: "ACTIVE", Drop: "c0" + guest},
			lifecycle.Overdue: {Status: "ACTIVE", Drop: "c0" + guest},
		},
		lifecycle.Stopping: {
			lifecycle.Done:    {Step: lifecycle.Resizing, Status: "RESIZE", Command: deployments.MethodResize + host},
			lifecycle.Failed:  {Step: lifecycle.Starting, Status: "RESIZE", Command: datastores.MethodStart + guest, Drop: "c0" + guest},
			lifecycle.Overdue: {Step: lifecycle.Starting, Status: "RESIZE", Command: datastores.MethodStart + guest, Drop: "c0" + guest},
		},
		lifecycle.Resizing: {
			lifecycle.Done:        {Step: lifecycle.Starting, Status: "RESIZE", Command: datastores.MethodStart + guest},
			lifecycle.Failed:      {Step: lifecycle.Starting, Status: "RESIZE", Command: datastores.MethodStart + guest, Drop: "c0" + host},
			lifecycle.Overdue:     {Step: lifecycle.Resizing, Status: "RESIZE", Fault: true},
			lifecycle.ResetStatus: {Status: "ACTIVE", Drop: "c0" + host},
		},
		lifecycle.Starting: {
			lifecycle.Done:    {Status: "ACTIVE"},
			lifecycle.Failed:  {Status: "ERROR", Drop: "c0" + guest, Fault: true},
			lifecycle.Overdue: {Status: "ERROR", Drop: "c0" + guest, Fault: true},
		},
		lifecycle.Equipping: {
			lifecycle.Done:        {Step: lifecycle.Upgrading, Status: "UPGRADE", Command: datastores.MethodUpgrade + guest},
			lifecycle.Failed:      {Status: "ACTIVE", Drop: "c0" + host, Fault: true},
			lifecycle.Overdue:     {Step: lifecycle.Equipping, Status: "UPGRADE", Fault: true},
			lifecycle.ResetStatus: {Status: "ACTIVE", Drop: "c0" + host},
		},
		lifecycle.Reverting: {
			lifecycle.Done:        {Step: lifecycle.Starting, Status: "UPGRADE", Command: datastores.MethodStart + guest},
			lifecycle.Failed:      {Status: "ERROR", Drop: "c0" + host, Fault: true},
			lifecycle.Overdue:     {Step: lifecycle.Reverting, Status: "UPGRADE", Fault: true},
			lifecycle.ResetStatus: {Status: "ACTIVE", Drop: "c0" + host},
		},
		lifecycle.Upgrading: {
			lifecycle.Done:    {Status: "ACTIVE"},
			lifecycle.Failed:  {Status: "ERROR", Drop: "c0" + guest, Fault: true},
			lifecycle.Overdue: {Step: lifecycle.Upgrading, Status: "UPGRADE", Fault: true},
		},
		lifecycle.Entering: {
			lifecycle.Done:    {Status: "ACTIVE"},
			lifecycle.Failed:  {Status: "ERROR", Drop: "c0" + guest, Fault: true},
			lifecycle.Overdue: {Status: "ERROR", Drop: "c0" + guest, Fault: true},
		},
		lifecycle.Exiting: {
			lifecycle.Done:    {Status: "ACTIVE"},
			lifecycle.Failed:  {Status: "ERROR", Drop: "c0" + guest, Fault: true},
			lifecycle.Overdue: {Status: "ERROR", Drop: "c0" + guest, Fault: true},
		},
		lifecycle.Detaching: {
			lifecycle.Done:    {Status: "ACTIVE"},
			lifecycle.Failed:  {Status: "ERROR", Drop: "c0" + guest, Fault: true},
			lifecycle.Overdue: {Step: lifecycle.Detaching, Status: "DETACH", Fault: true},
		},
		lifecycle.Quieting: {
			lifecycle.Done:        {Step: lifecycle.Saving, Status: "MIGRATING", Command: datastores.MethodCreateBackup + guest},
			lifecycle.Failed:      {Step: lifecycle.Releasing, Status: "MIGRATING", Command: datastores.MethodMakeReadOnly + guest, Drop: "c0" + guest},
			lifecycle.Overdue:     {Step: lifecycle.Releasing, Status: "MIGRATING", Command: datastores.MethodMakeReadOnly + guest, Drop: "c0" + guest},
			lifecycle.ResetStatus: {Step: lifecycle.Releasing, Status: "MIGRATING", Command: datastores.MethodMakeReadOnly + guest, Drop: "c0" + guest},
		},
		lifecycle.Yielding: {
			lifecycle.Done:        {Step: lifecycle.Stopping, Status: "MIGRATING", Command: datastores.MethodStop + guest},
			lifecycle.Failed:      {Status: "ACTIVE", Fault: true},
			lifecycle.Overdue:     {Status: "ACTIVE", Fault: true}, // its set does nothing
			lifecycle.ResetStatus: {Status: "ACTIVE"},
		},
		lifecycle.Saving: {
			lifecycle.Done:        {Step: lifecycle.Stopping, Status: "MIGRATING", Command: datastores.MethodStop + guest},
			lifecycle.Failed:      {Step: lifecycle.Releasing, Status: "MIGRATING", Command: datastores.MethodMakeReadOnly + guest, Drop: "c0" + guest},
			lifecycle.Overdue:     {Step: lifecycle.Releasing, Status: "MIGRATING", Command: datastores.MethodMakeReadOnly + guest, Drop: "c0" + guest},
			lifecycle.ResetStatus: {Step: lifecycle.Releasing, Status: "MIGRATING", Command: datastores.MethodMakeReadOnly + guest, Drop: "c0" + guest},
		},
		lifecycle.Releasing: {
			lifecycle.Done:        {Status: "ACTIVE"},
			lifecycle.Failed:      {Status: "ERROR", Drop: "c0" + guest, Fault: true},
			lifecycle.Overdue:     {Step: lifecycle.Releasing, Status: "MIGRATING", Fault: true},
			lifecycle.ResetStatus: {Status: "ERROR", Drop: "c0" + guest, Fault: true},
		},
		lifecycle.Following: {
			lifecycle.Done:        {Status: "ACTIVE"},
			lifecycle.Failed:      {Status: "ERROR", Drop: "c0" + guest, Fault: true},
			lifecycle.Overdue:     {Step: lifecycle.Following, Status: "PROMOTE", Fault: true},
			lifecycle.ResetStatus: {Status: "ERROR", Drop: "c0" + guest, Fault: true},
		},
		lifecycle.Removing: {
			lifecycle.Done:    {Step: lifecycle.Removing, Status: "SHUTDOWN", Gone: true},
			lifecycle.Failed:  {Step: lifecycle.Removing, Status: "ERROR", Fault: true},
			lifecycle.Overdue: {Step: lifecycle.Removing, Status: "ERROR", Fault: true},
		},
	}
	for step, cells := range want {
		fillIn(step, cells)
	}
	rows := map[string]bool{}
	for _, row := range lifecycle.Table() {
		rows[string(row.Step)+" "+string(row.Event)] = true
	}
	for _, step := range lifecycle.Steps() {
		for _, kind := range lifecycle.EventTypes() {
			in := at(step)
			d, got := decide(t, in, event(kind, in), start.Add(2*time.Minute))
			expected, listed := want[step][kind]
			if !listed {
				expected = outcome{Step: step, Status: lifecycle.Status(member(in))}
				if d.Changed {
					t.Errorf("%q in step %q changed something", kind, step)
				}
			}
			if diff := cmp.Diff(expected, got); diff != "" {
				t.Errorf("%q in step %q (-want +got):\n%s", kind, step, diff)
			}
			if listed && !rows[string(step)+" "+string(kind)] {
				t.Errorf("%q in step %q is expected but has no row", kind, step)
			}
			checkInvariants(t, in, d)
		}
	}
}

// fillIn adds what holds for every step of an operation: the instance can be deleted and nothing else be asked for, the
// operation can be given up, and a guest's report is taken.
func fillIn(step lifecycle.Step, cells map[lifecycle.EventType]outcome) {
	if step == lifecycle.Idle {
		return
	}
	in := at(step)
	for _, e := range lifecycle.EventTypes() {
		if _, said := cells[e]; said {
			continue
		}
		switch {
		case e == lifecycle.AskDelete && step != lifecycle.Removing:
			o := outcome{Step: lifecycle.Removing, Status: "SHUTDOWN", Command: deployments.MethodRemove + "@host"}
			if c := in.Operation.Command; c != "" {
				o.Drop = c + "@" + in.Operation.Agent
			}
			cells[e] = o
		case strings.HasPrefix(string(e), "ask_") && e != lifecycle.AskDelete:
			cells[e] = outcome{Step: step, Status: lifecycle.Status(member(in)), Refused: true}
		case e == lifecycle.ResetStatus && step != lifecycle.Removing:
			cells[e] = outcome{Status: "ACTIVE", Drop: in.Operation.Command + "@" + in.Operation.Agent}
		case e == lifecycle.Reported && in.Prepared && step != lifecycle.Removing:
			cells[e] = outcome{Step: step, Status: lifecycle.Status(member(in))}
		}
	}
}

// checkInvariants holds for every decision.
func checkInvariants(t fataler, before etcdschema.Instance, d lifecycle.Decision) {
	t.Helper()
	in := d.Instance
	if op := in.Operation; op != nil {
		if op.Deadline.IsZero() || op.Since.IsZero() || op.Kind == "" || op.Step == "" {
			t.Fatalf("an operation without a deadline, a begin or a name: %+v", *op)
		}
		if c := own(d); c != nil && op.Command != c.ID {
			t.Fatalf("a command was sent that the operation does not wait for: %+v, %+v", *c, *op)
		}
	} else if c := own(d); c != nil {
		t.Fatalf("a command was sent for no operation: %+v", *c)
	}
	// A command that was waited for is not forgotten: it is still waited for, or withdrawn, or it ended the operation.
	if old := before.Operation; old != nil && old.Command != "" && d.Drop == nil && !d.Gone {
		still := in.Operation != nil && in.Operation.Command == old.Command
		if !still && in.Failed != "" && in.Failed != lifecycle.Delete {
			t.Fatalf("command %s was neither withdrawn nor answered", old.Command)
		}
	}
	known := []string{"BUILD", "ACTIVE", "ERROR", "REBOOT", "SHUTDOWN", "RESTART_REQUIRED", "BACKUP", "RESIZE", "UPGRADE", "MIGRATING", "DETACH", "PROMOTE", "EJECT"}
	if s := lifecycle.Status(member(in)); !slices.Contains(known, s) {
		t.Fatalf("status %q is unknown to clients", s)
	}
	if lifecycle.Status(member(in)) == "ACTIVE" && !in.Prepared && !d.Gone {
		t.Fatalf("an instance is ACTIVE that never was prepared")
	}
}

// own is the command that the decision's own instance waits for from now on.
func own(d lifecycle.Decision) *lifecycle.Command {
	for _, c := range d.Commands {
		if c.Waiter == d.Instance.ID {
			return &c
		}
	}
	return nil
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func TestLateResultChangesNothing(t *testing.T) {
	for _, step := range []lifecycle.Step{lifecycle.Launching, lifecycle.Preparing, lifecycle.Restarting, lifecycle.Removing} {
		for _, kind := range []lifecycle.EventType{lifecycle.Done, lifecycle.Failed} {
			e := lifecycle.Event{Type: kind, Command: "of-yesterday", Error: agentpoll.Errorf(agentpoll.Internal, "x")}
			if d, _ := decide(t, at(step), e, start); d.Changed {
				t.Errorf("%q of another command changed step %q", kind, step)
			}
		}
	}
}

func TestOverdueOnlyAfterTheDeadline(t *testing.T) {
	for _, step := range lifecycle.Steps() {
		if d, _ := decide(t, at(step), lifecycle.Event{Type: lifecycle.Overdue}, start.Add(59*time.Second)); d.Changed {
			t.Errorf("step %q was overdue before its deadline", step)
		}
	}
}

func TestOverdueFaultHasTheLastWords(t *testing.T) {
	in := at(lifecycle.Preparing)
	in.Operation.Progress = &agentpoll.Progress{Message: "installing mariadb-server"}
	d, _ := decide(t, in, lifecycle.Event{Type: lifecycle.Overdue}, start.Add(time.Hour))
	want := `the guest did not finish within 1m0s; its last words: installing mariadb-server (create failed at step "prepare")`
	if got := d.Instance.Fault.Message; got != want {
		t.Errorf("fault:\n got %s\nwant %s", got, want)
	}
}

func TestRemoveIsAskedAgainAfterAFailure(t *testing.T) {
	in := at(lifecycle.Removing)
	d, _ := decide(t, in, event(lifecycle.Failed, in), start)
	if own(d) != nil || d.Instance.Operation.Command != "" {
		t.Fatal("the host was asked again without a pause")
	}
	d, got := decide(t, d.Instance, lifecycle.Event{Type: lifecycle.Overdue}, d.Instance.Operation.Deadline)
	if want := deployments.MethodRemove + "@host"; got.Command != want {
		t.Errorf("after the pause: command %q, want %q", got.Command, want)
	}
	if d, got = decide(t, d.Instance, event(lifecycle.Done, d.Instance), start.Add(time.Hour)); !got.Gone {
		t.Errorf("removed at last, but not gone: %+v", d.Instance)
	}
}

func TestWithoutAHost(t *testing.T) {
	in := etcdschema.Instance{ID: "guest", Created: start}
	d, got := decide(t, in, lifecycle.Event{Type: lifecycle.Created}, start)
	if diff := cmp.Diff(outcome{Step: lifecycle.Enrolling, Status: "BUILD"}, got); diff != "" {
		t.Fatalf("create (-want +got):\n%s", diff)
	}
	if want := start.Add(datastores.DefaultUsageTimeout * time.Second); !d.Instance.Operation.Deadline.Equal(want) {
		t.Errorf("deadline %s, want %s", d.Instance.Operation.Deadline, want)
	}
	in.Prepared = true
	if d, got := decide(t, in, lifecycle.Event{Type: lifecycle.AskDelete}, start); !got.Gone || own(d) != nil {
		t.Errorf("delete without a host: %+v", got)
	}
}

func TestHealthDisprovesAFailedRestart(t *testing.T) {
	in := at(lifecycle.Idle)
	in.Failed = lifecycle.Restart
	d, got := decide(t, in, event(lifecycle.Reported, in), start)
	if got.Status != "ACTIVE" {
		t.Errorf("status %s after the server answered again, want ACTIVE: %+v", got.Status, d.Instance)
	}
	in.Prepared, in.Failed = false, lifecycle.Create
	if _, got := decide(t, in, event(lifecycle.Reported, in), start); got.Status != "ERROR" {
		t.Errorf("status %s of a failed create, want ERROR", got.Status)
	}
}
