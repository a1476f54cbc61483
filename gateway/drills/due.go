package drills

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/due"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/identity"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/plan"
)

// How often it is looked how far a drill has come: at first soon, later less often.
const (
	lookFirst  = 2 * time.Second
	lookLatest = time.Minute
)

var never time.Time

// Kind is what happens when a drill is due.
func (d *Drills) Kind() due.Kind {
	return due.Kind{Name: plan.DueDrill, Happen: d.happen, Places: 4, Within: 30 * time.Second}
}

// happen takes a drill one step on.
func (d *Drills) happen(ctx context.Context, item due.Item) error {
	cp := d.Control
	rec, err := etcdschema.Get(ctx, cp.Store, etcdschema.DrillsKey(item.Project, item.ID))
	if err != nil && !errors.Is(err, etcdschema.ErrNotFound) {
		return err
	}
	all := rec.Value
	if !rec.Found || !all.Due.Equal(item.At) {
		return d.drop(ctx, item)
	}
	c := control.Caller{Project: all.Project, Who: identity.Who{UserName: "drill"}}
	_, err = cp.Instance(ctx, c, all.Instance)
	if err != nil && !fault.IsNotFound(err) {
		return err
	}
	gone := err != nil
	if all.Now == nil {
		return d.rest(ctx, item, gone)
	}
	probe, err := cp.Instance(ctx, c, all.Now.Probe)
	if err != nil && !fault.IsNotFound(err) {
		return err
	}
	switch {
	case all.Now.Step == etcdschema.DrillRemoves:
		err = d.remove(ctx, c, item, all, probe, gone)
	case gone:
		err = d.fail(ctx, item, "The instance was deleted.")
	case probe.ID == "":
		err = d.fail(ctx, item, "The instance that was made of the backup was deleted.")
	case all.Now.Step == etcdschema.DrillChecks:
		err = d.checked(ctx, item, all, probe)
	default:
		err = d.restored(ctx, item, all, probe)
	}
	if errors.Is(err, due.ErrBefore) {
		return nil
	}
	return err
}

// step decides over drills that are still due as the item says, when they are due next and what else is written.
func (d *Drills) step(ctx context.Context, item due.Item, decide func(etcdschema.Snapshot, *etcdschema.Drills) (time.Time, []etcdschema.Op, error)) error {
	key := etcdschema.DrillsKey(item.Project, item.ID)
	return due.Decide(ctx, d.Control.Store, item, key, dueAt, func(s etcdschema.Snapshot, one *etcdschema.Drills) ([]etcdschema.Op, error) {
		at, ops, err := decide(s, one)
		return append(ops, plan.PutDrills(*one, at, d.Control.Now())...), err
	})
}

func dueAt(one etcdschema.Drills) time.Time { return one.Due }

// drop takes away the key of drills that are gone, or are due at another time.
func (d *Drills) drop(ctx context.Context, item due.Item) error {
	return due.Forget(ctx, d.Control.Store, item, plan.DueDrill, etcdschema.DrillsKey(item.Project, item.ID), dueAt)
}

// rest has drills rest of which none is under way; those of an instance that is gone are forgotten.
func (d *Drills) rest(ctx context.Context, item due.Item, gone bool) error {
	key := etcdschema.DrillsKey(item.Project, item.ID)
	_, err := d.Control.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil || !rec.Found || !rec.Value.Due.Equal(item.At) || rec.Value.Now != nil {
			return nil, err
		}
		if !gone {
			return plan.PutDrills(rec.Value, never, d.Control.Now()), nil
		}
		drop, err := item.Drop(s, plan.DueDrill)
		return append(drop, etcdschema.Delete(key)), err
	})
	return err
}

// later looks again: soon when the step was begun at since, later the longer it goes on.
func (d *Drills) later(ctx context.Context, item due.Item, since time.Time) error {
	now := d.Control.Now()
	return d.step(ctx, item, func(etcdschema.Snapshot, *etcdschema.Drills) (time.Time, []etcdschema.Op, error) {
		return now.Add(min(max(now.Sub(since)/4, lookFirst), lookLatest)), nil, nil
	})
}

// fail has the probe be removed, if it is there, since the drill has failed.
func (d *Drills) fail(ctx context.Context, item due.Item, why string) error {
	return d.step(ctx, item, func(_ etcdschema.Snapshot, all *etcdschema.Drills) (time.Time, []etcdschema.Op, error) {
		ends(all.Now, why)
		return d.Control.Now(), nil, nil
	})
}

// ends has a drill go on with the removal of its probe. why it has failed; "": it has passed.
func ends(drill *etcdschema.Drill, why string) {
	drill.Step, drill.Command, drill.Result, drill.Reason = etcdschema.DrillRemoves, "", etcdschema.DrillPassed, limits.Shortened(why)
	if why != "" {
		drill.Result = etcdschema.DrillFailed
	}
}

// restored looks whether the probe is ready, and has it looked at.
func (d *Drills) restored(ctx context.Context, item due.Item, all etcdschema.Drills, probe lifecycle.Member) error {
	switch {
	case probe.Failed != "":
		why := "It could not be restored."
		if probe.Fault != nil {
			why = probe.Fault.Message
		}
		return d.fail(ctx, item, why)
	case probe.Operation != nil || !probe.Prepared:
		return d.later(ctx, item, all.Now.Begun)
	}
	return d.step(ctx, item, func(s etcdschema.Snapshot, all *etcdschema.Drills) (time.Time, []etcdschema.Op, error) {
		now := d.Control.Now().UTC()
		all.Now.Restored = probe.Updated
		if v := probe.Service.Volume; v != nil {
			all.Now.Used = v.Used
		}
		if !checks(probe.Instance) {
			ends(all.Now, "")
			return now, nil, nil
		}
		ops, err := d.ask(s, all, probe.Instance, now)
		return now.Add(lookFirst), ops, err
	})
}

// remove has the probe be removed until it is gone; then the drill is over.
func (d *Drills) remove(ctx context.Context, c control.Caller, item due.Item, all etcdschema.Drills, probe lifecycle.Member, gone bool) error {
	if probe.ID == "" {
		return d.over(ctx, item, gone)
	}
	if op := probe.Operation; op == nil || op.Kind != lifecycle.Delete {
		if err := d.Control.Ask(ctx, c, probe.ID, lifecycle.AskDelete); err != nil && !fault.IsNotFound(err) {
			if fault.Refusal(err) == nil {
				return err
			}
			d.Control.Log.Warn("what a drill has made cannot be removed yet; it is tried again", "instance_id", probe.ID, "err", err)
		}
	}
	since := slices.MaxFunc([]time.Time{all.Now.Begun, all.Now.Restored, all.Now.Checked}, time.Time.Compare)
	return d.later(ctx, item, since)
}

// over keeps what was found, and tells it.
func (d *Drills) over(ctx context.Context, item due.Item, gone bool) error {
	var drill etcdschema.Drill
	err := d.step(ctx, item, func(s etcdschema.Snapshot, all *etcdschema.Drills) (time.Time, []etcdschema.Op, error) {
		now := d.Control.Now().UTC()
		drill = *all.Now
		drill.Step, drill.Ended = "", now
		all.Now, all.Question = nil, nil
		all.Past = append([]etcdschema.Drill{drill}, all.Past[:min(len(all.Past), limits.MaxDrills-1)]...)
		if gone {
			return now, nil, nil // to be forgotten
		}
		told, err := d.tell(s, item, drill, now)
		if err != nil {
			return never, nil, err
		}
		woken, err := plan.WakeObjectives(s, item.Project, item.ID, now)
		return never, append(told, woken...), err
	})
	if err == nil {
		if drill.Result == etcdschema.DrillPassed {
			d.passed.Add(1)
			if d.Took != nil {
				d.Took(drill.Restoring())
			}
		} else {
			d.failed.Add(1)
		}
	}
	return err
}

// tell adds a line to the timeline of the instance.
func (d *Drills) tell(s etcdschema.Snapshot, item due.Item, drill etcdschema.Drill, now time.Time) ([]etcdschema.Op, error) {
	key := etcdschema.InstanceKey(item.Project, item.ID)
	rec, err := etcdschema.Read(s, key)
	if err != nil || !rec.Found {
		return nil, err
	}
	event := etcdschema.Event{At: now, Kind: "note", Message: fmt.Sprintf("the drill passed: backup %s was restored in %s%s", drill.Backup, drill.Restoring().Round(time.Second), found(drill))}
	if drill.Result != etcdschema.DrillPassed {
		event.Kind, event.Message = "fault", fmt.Sprintf("the drill failed with backup %s: %s", drill.Backup, drill.Reason)
	}
	ops := plan.Tell(&rec.Value, event)
	return append(ops, etcdschema.Put(key, rec.Value)), nil
}

// found is what was read, for a person.
func found(drill etcdschema.Drill) string {
	r := drill.Report
	if r == nil {
		return ", and not looked at: the datastore has no check"
	}
	asked := ""
	if r.Answered != nil {
		asked = ", and the question was answered as it must be"
	}
	return fmt.Sprintf(", %d %s were read by %s%s", r.Objects, r.Unit, r.By, asked)
}
