package control

import (
	"cmp"
	"context"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/due"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Commit makes a decision and writes it in one transaction. decide may be called several times: the moves that it returns last are
// committed. In a dry run they are only foreseen.
func (cp *Plane) Commit(ctx context.Context, refs []etcdschema.Ref, decide func(etcdschema.Snapshot) (plan.Moves, error)) (plan.Moves, error) {
	var m plan.Moves
	seen := dryRunOf(ctx)
	_, err := cp.Store.Update(ctx, refs, func(s etcdschema.Snapshot) (_ []etcdschema.Op, err error) {
		m, err = decide(s)
		if err == nil && seen != nil && len(seen.Would) == 0 {
			err = cp.foresee(ctx, s.After(m.Ops...), m.After, seen)
		}
		return m.Ops, err
	})
	if err != nil {
		return plan.Moves{}, err
	}
	if m.FailedOver != nil && cp.FailedOver != nil {
		cp.FailedOver(*m.FailedOver)
	}
	return m, nil
}

// Foreseen is what a request would do: what its first transaction would write, and what would go on after it.
type Foreseen struct {
	*etcdschema.Foreseen
	After lifecycle.Member // of an operation: the instance, or a set alone, as it begins
	Steps []plan.Step
	// Restart are parameters of the group that is attached, or taken away, that take effect at a restart only.
	Restart []string
	Quota   []Resource // what the project would use
}

type dryRun struct{}

// DryRun is a context in which requests change nothing. What one would have done is in Foreseen when it has ended.
func DryRun(ctx context.Context) (context.Context, *Foreseen) {
	ctx, would := etcdschema.DryRun(ctx)
	seen := &Foreseen{Foreseen: would}
	return context.WithValue(ctx, dryRun{}, seen), seen
}

func dryRunOf(ctx context.Context) *Foreseen {
	seen, _ := ctx.Value(dryRun{}).(*Foreseen)
	return seen
}

// foresee plays out what follows from a decision, over the records as it leaves them.
func (cp *Plane) foresee(ctx context.Context, s etcdschema.Snapshot, after lifecycle.Member, seen *Foreseen) (err error) {
	seen.After = after
	if seen.Steps, err = plan.Foresee(s, after, cp.Now()); err != nil {
		return err
	}
	project := cmp.Or(after.Project, after.Set.Project)
	usage, err := etcdschema.Read(s, etcdschema.UsageKey(project))
	if err != nil {
		return err
	}
	quota, err := etcdschema.Read(s, etcdschema.QuotaKey(project))
	if err != nil {
		return err
	}
	seen.Quota = cp.resources(quota.Value, usage.Value)
	op := after.Operation
	if op == nil || op.Kind != lifecycle.Configure || op.Target == nil || op.Target.Configuration == nil {
		return nil
	}
	group, err := etcdschema.Read(s, etcdschema.ConfigurationKey(project, cmp.Or(*op.Target.Configuration, after.Configuration)))
	if err != nil {
		return err
	}
	catalogue, err := cp.Settled(ctx)
	if err != nil {
		return err
	}
	version, _ := catalogue.FindVersion(after.Datastore, after.Version)
	seen.Restart = nil
	for _, p := range version.Server.Parameters {
		if _, has := group.Value.Values[p.Name]; has && p.RestartRequired {
			seen.Restart = append(seen.Restart, p.Name)
		}
	}
	return nil
}

// transition lets an event happen to an instance, in one transaction. Each of also checks more, or adds to what is written.
func (cp *Plane) transition(ctx context.Context, project, id string, event lifecycle.Event, also ...func(*plan.Plan) error) (lifecycle.Member, error) {
	key, bill := etcdschema.InstanceKey(project, id), cp.Limits.Bill(project)
	m, err := cp.Commit(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) (plan.Moves, error) {
		rec, err := etcdschema.Read(s, key)
		in, err := fault.Found(rec, err, "Instance", id)
		if err == nil && event.Asked() && event.Type != lifecycle.AskDelete { // who gives room back need not wait
			err = bill.Writes(in, 2) // as it begins, and as it ends
		}
		if err == nil && event.Asked() && event.Type != lifecycle.AskDelete && event.Type != lifecycle.AskConfigure {
			err = plan.NoDrill(in)
		}
		if err != nil {
			return plan.Moves{}, err
		}
		member, err := plan.MemberOf(s, in)
		if err != nil {
			return plan.Moves{}, err
		}
		if err := refusedToMember(member, event.Type); err != nil && event.Type != lifecycle.AskConfigure { // as when the values of its group change
			return plan.Moves{}, err
		}
		return decide(cp.Plan(s, member, event), also)
	})
	return m.After, err
}

// AskFor lets an event happen to an instance that begins an operation of one step, of the capability that its method needs. A guest that is not
// there is a 503. Each of also checks more.
func (cp *Plane) AskFor(ctx context.Context, c Caller, id string, event lifecycle.Event, methodName string, also ...func(*plan.Plan) error) (lifecycle.Member, error) {
	event.Request, event.By = c.Request, c.Who.UserName
	possible := func(p *plan.Plan) error {
		return cmp.Or(supports(p.Before.Instance, method(methodName)), cp.reachable(p.Snap, p.Before.ID))
	}
	after, err := cp.transition(ctx, c.Project, id, event, append([]func(*plan.Plan) error{possible}, also...)...)
	return after, instanceError(err, id)
}

// Perform is AskFor, and waits for the guest's answer.
func (cp *Plane) Perform(ctx context.Context, c Caller, id string, event lifecycle.Event, methodName string, also ...func(*plan.Plan) error) error {
	after, err := cp.AskFor(ctx, c, id, event, methodName, also...)
	if err != nil || after.Operation == nil {
		return err
	}
	ctx, cancel := context.WithDeadline(ctx, after.Operation.Deadline)
	defer cancel()
	result, err := cp.awaitStep(ctx, after.Instance)
	if err == nil && result.Error != nil {
		err = result.Error
	}
	return err
}

// transitionSet lets an event happen to a set, in one transaction.
func (cp *Plane) transitionSet(ctx context.Context, project, id string, event lifecycle.Event, also ...func(*plan.Plan) error) error {
	key := etcdschema.SetKey(project, id)
	_, err := cp.Commit(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) (plan.Moves, error) {
		rec, err := etcdschema.Read(s, key)
		set, err := fault.Found(rec, err, "Set", id)
		if err != nil {
			return plan.Moves{}, err
		}
		return decide(cp.Plan(s, lifecycle.Member{Set: set}, event), also)
	})
	return err
}

func decide(p *plan.Plan, also []func(*plan.Plan) error) (plan.Moves, error) {
	for _, f := range also {
		if err := f(p); err != nil {
			return plan.Moves{}, err
		}
	}
	return p.Decide()
}

// Plan begins the plan of what happens to an instance, or to a set.
func (cp *Plane) Plan(s etcdschema.Snapshot, m lifecycle.Member, event lifecycle.Event) *plan.Plan {
	return plan.New(cp.Keys, cp.Signer, cp.Now(), s, m, event)
}

// dues are all kinds of what happens at its time.
func (cp *Plane) dues() []due.Kind {
	kinds := []due.Kind{
		{Name: plan.DueInstance, Happen: cp.instanceDue, Places: 8, Within: 10 * time.Second},
		{Name: plan.DueSet, Happen: cp.setDue, Places: 8, Within: 10 * time.Second},
	}
	if cp.Blobs != nil {
		kinds = append(kinds,
			due.Kind{Name: plan.DueBackup, Happen: cp.backupDue, Places: removals, Within: removalTimeout},
			due.Kind{Name: plan.DueLogs, Happen: cp.logsDue, Places: removals, Within: removalTimeout},
		)
	}
	return kinds
}

// Begin lets happen what is due from now on, until Close.
func (cp *Plane) Begin() {
	for _, kind := range cp.dues() {
		cp.Go(due.New(cp.Store, cp.Log, cp.Now, kind).Run)
	}
}

// instanceDue moves an instance on when its operation is overdue.
func (cp *Plane) instanceDue(ctx context.Context, item due.Item) error {
	key := etcdschema.InstanceKey(item.Project, item.ID)
	_, err := cp.Commit(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) (plan.Moves, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return plan.Moves{}, err
		}
		in := rec.Value
		if !rec.Found || !in.Due.Equal(item.At) { // another gateway was first, or one of an earlier release has written the record
			ops, err := item.Drop(s, plan.DueInstance)
			return plan.Moves{Ops: ops}, err
		}
		if op := in.Operation; op != nil && !cp.Now().Before(op.Deadline) {
			m, err := plan.MemberOf(s, in)
			if err != nil {
				return plan.Moves{}, err
			}
			return cp.Plan(s, m, lifecycle.Event{Type: lifecycle.Overdue}).Decide()
		}
		ops := plan.Due(&in, cp.Now())
		return plan.Moves{Ops: append(ops, etcdschema.Put(key, in))}, nil
	})
	return err
}

// setDue is the same for a set.
func (cp *Plane) setDue(ctx context.Context, item due.Item) error {
	key := etcdschema.SetKey(item.Project, item.ID)
	_, err := cp.Commit(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) (plan.Moves, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return plan.Moves{}, err
		}
		set := rec.Value
		if !rec.Found || !set.Due.Equal(item.At) {
			ops, err := item.Drop(s, plan.DueSet)
			return plan.Moves{Ops: ops}, err
		}
		if op := set.Operation; op != nil && !cp.Now().Before(op.Deadline) {
			return cp.Plan(s, lifecycle.Member{Set: set}, lifecycle.Event{Type: lifecycle.Overdue}).Decide()
		}
		if at := lifecycle.LookAt(set); !at.IsZero() && !cp.Now().Before(at) {
			gone, err := cp.gone(s, set)
			if err != nil {
				return plan.Moves{}, err
			}
			return cp.Plan(s, lifecycle.Member{Set: set}, lifecycle.Event{Type: lifecycle.AskFailover, Gone: gone}).Decide()
		}
		ops := plan.SetDue(&set, cp.Now())
		return plan.Moves{Ops: append(ops, etcdschema.Put(key, set))}, nil
	})
	return err
}
