package lifecycle_test

import (
	"fmt"
	"slices"
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

// at builds an instance on a host that stands at a step; one that is Idle has been ready.
func at(step lifecycle.Step) etcdschema.Instance {
	in := etcdschema.Instance{ID: "guest", Project: "p", Host: "host", Created: start, Updated: start, UsageTimeout: 600}
	kind := map[lifecycle.Step]string{
		lifecycle.Launching: lifecycle.Create, lifecycle.Enrolling: lifecycle.Create, lifecycle.Preparing: lifecycle.Create,
		lifecycle.Restarting: lifecycle.Restart, lifecycle.Removing: lifecycle.Delete,
	}[step]
	if kind != lifecycle.Create {
		in.Prepared = true
		in.Service.Service = datastores.StatusHealthy
	}
	if step == lifecycle.Idle {
		return in
	}
	op := &etcdschema.Operation{Kind: kind, Step: string(step), Since: start, Started: start, Deadline: start.Add(time.Minute), Agent: "guest", Command: "c0"}
	switch step {
	case lifecycle.Launching, lifecycle.Removing:
		op.Agent = "host"
	case lifecycle.Enrolling:
		op.Command = ""
	}
	in.Operation = op
	return in
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
	d, err := lifecycle.Decide(in, e, now, ids())
	o := outcome{
		Step: lifecycle.StepOf(d.Instance), Status: lifecycle.Status(d.Instance), Gone: d.Gone, Refused: err != nil,
		Fault: d.Instance.Fault != nil,
	}
	if d.Command != nil {
		o.Command = d.Command.Method + "@" + d.Command.Agent
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
	e := lifecycle.Event{Type: kind, Status: datastores.Status{Service: datastores.StatusHealthy}}
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
			lifecycle.Created:     {Step: lifecycle.Launching, Status: "BUILD", Command: deployments.MethodLaunch + host},
			lifecycle.AskRestart:  {Step: lifecycle.Restarting, Status: "REBOOT", Command: datastores.MethodRestart + guest},
			lifecycle.AskDelete:   {Step: lifecycle.Removing, Status: "SHUTDOWN", Command: deployments.MethodRemove + host},
			lifecycle.ResetStatus: {Status: "ACTIVE"},
			lifecycle.Reported:    {Status: "ACTIVE"},
		},
		lifecycle.Launching: {
			lifecycle.Done:        {Step: lifecycle.Enrolling, Status: "BUILD"},
			lifecycle.Enrolled:    {Step: lifecycle.Preparing, Status: "BUILD", Command: datastores.MethodPrepare + guest},
			lifecycle.Failed:      {Status: "ERROR", Drop: "c0" + host, Fault: true},
			lifecycle.Overdue:     {Status: "ERROR", Drop: "c0" + host, Fault: true},
			lifecycle.AskRestart:  {Step: lifecycle.Launching, Status: "BUILD", Refused: true},
			lifecycle.AskDelete:   {Step: lifecycle.Launching, Status: "BUILD", Refused: true},
			lifecycle.ResetStatus: {Status: "ERROR", Drop: "c0" + host},
		},
		lifecycle.Enrolling: {
			lifecycle.Enrolled:    {Step: lifecycle.Preparing, Status: "BUILD", Command: datastores.MethodPrepare + guest},
			lifecycle.Overdue:     {Status: "ERROR", Fault: true},
			lifecycle.AskRestart:  {Step: lifecycle.Enrolling, Status: "BUILD", Refused: true},
			lifecycle.AskDelete:   {Step: lifecycle.Enrolling, Status: "BUILD", Refused: true},
			lifecycle.ResetStatus: {Status: "ERROR"},
		},
		lifecycle.Preparing: {
			lifecycle.Done:        {Status: "ACTIVE"},
			lifecycle.Failed:      {Status: "ERROR", Drop: "c0" + guest, Fault: true},
			lifecycle.Overdue:     {Status: "ERROR", Drop: "c0" + guest, Fault: true},
			lifecycle.AskRestart:  {Step: lifecycle.Preparing, Status: "BUILD", Refused: true},
			lifecycle.AskDelete:   {Step: lifecycle.Preparing, Status: "BUILD", Refused: true},
			lifecycle.ResetStatus: {Status: "ERROR", Drop: "c0" + guest},
			lifecycle.Reported:    {Step: lifecycle.Preparing, Status: "BUILD"},
		},
		lifecycle.Restarting: {
			lifecycle.Done:        {Status: "ACTIVE"},
			lifecycle.Failed:      {Status: "ERROR", Drop: "c0" + guest, Fault: true},
			lifecycle.Overdue:     {Status: "ERROR", Drop: "c0" + guest, Fault: true},
			lifecycle.AskRestart:  {Step: lifecycle.Restarting, Status: "REBOOT", Refused: true},
			lifecycle.AskDelete:   {Step: lifecycle.Removing, Status: "SHUTDOWN", Command: deployments.MethodRemove + host, Drop: "c0" + guest},
			lifecycle.ResetStatus: {Status: "ACTIVE", Drop: "c0" + guest},
			lifecycle.Reported:    {Step: lifecycle.Restarting, Status: "REBOOT"},
		},
		lifecycle.Removing: {
			lifecycle.Done:       {Step: lifecycle.Removing, Status: "SHUTDOWN", Gone: true},
			lifecycle.Failed:     {Step: lifecycle.Removing, Status: "ERROR", Fault: true},
			lifecycle.Overdue:    {Step: lifecycle.Removing, Status: "ERROR", Fault: true},
			lifecycle.AskRestart: {Step: lifecycle.Removing, Status: "SHUTDOWN", Refused: true},
		},
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
				expected = outcome{Step: step, Status: lifecycle.Status(in)}
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

// checkInvariants holds for every decision.
func checkInvariants(t fataler, before etcdschema.Instance, d lifecycle.Decision) {
	t.Helper()
	in := d.Instance
	if op := in.Operation; op != nil {
		if op.Deadline.IsZero() || op.Since.IsZero() || op.Kind == "" || op.Step == "" {
			t.Fatalf("an operation without a deadline, a begin or a name: %+v", *op)
		}
		if d.Command != nil && op.Command != d.Command.ID {
			t.Fatalf("a command was sent that the operation does not wait for: %+v, %+v", *d.Command, *op)
		}
	} else if d.Command != nil {
		t.Fatalf("a command was sent for no operation: %+v", *d.Command)
	}
	// A command that was waited for is not forgotten: it is still waited for, or withdrawn, or it ended the operation.
	if old := before.Operation; old != nil && old.Command != "" && d.Drop == nil && !d.Gone {
		still := in.Operation != nil && in.Operation.Command == old.Command
		if !still && in.Failed != "" && in.Failed != lifecycle.Delete {
			t.Fatalf("command %s was neither withdrawn nor answered", old.Command)
		}
	}
	known := []string{"BUILD", "ACTIVE", "ERROR", "REBOOT", "SHUTDOWN", "RESTART_REQUIRED"}
	if s := lifecycle.Status(in); !slices.Contains(known, s) {
		t.Fatalf("status %q is unknown to clients", s)
	}
	if lifecycle.Status(in) == "ACTIVE" && !in.Prepared {
		t.Fatalf("an instance is ACTIVE that never was prepared")
	}
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
	want := `create failed at step "prepare": the guest did not finish within 1m0s; its last words: installing mariadb-server`
	if got := d.Instance.Fault.Message; got != want {
		t.Errorf("fault:\n got %s\nwant %s", got, want)
	}
}

func TestRemoveIsAskedAgainAfterAFailure(t *testing.T) {
	in := at(lifecycle.Removing)
	d, _ := decide(t, in, event(lifecycle.Failed, in), start)
	if d.Command != nil || d.Instance.Operation.Command != "" {
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
	if d, got := decide(t, in, lifecycle.Event{Type: lifecycle.AskDelete}, start); !got.Gone || d.Command != nil {
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
