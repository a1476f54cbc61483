package schedules

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/due"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/identity"
	"github.com/cofferdb/coffer/gateway/plan"
)

// How often a gateway looks again whether the instance is free, and whether a backup is done: at first soon, later less often.
const (
	tryAgain   = 30 * time.Second
	lookFirst  = 2 * time.Second
	lookLatest = time.Minute
)

var never time.Time

// Kind is what happens when a schedule is due.
func (s *Schedules) Kind() due.Kind {
	return due.Kind{Name: plan.DueSchedule, Happen: s.happen, Places: 4, Within: 30 * time.Second}
}

// following is when the run after now is due; zero: never.
func following(sch etcdschema.Schedule, now time.Time) time.Time {
	if sch.Disabled {
		return never
	}
	return Next(sch.When, sch.Created, now)
}

// happen takes a schedule one step on: it begins a run, has it wait, or ends it.
func (s *Schedules) happen(ctx context.Context, item due.Item) error {
	rec, err := etcdschema.Get(ctx, s.Control.Store, etcdschema.ScheduleKey(item.Project, item.ID))
	if err != nil && !errors.Is(err, etcdschema.ErrNotFound) {
		return err
	}
	sch, now := rec.Value, s.Control.Now()
	switch {
	case !rec.Found || !sch.Due.Equal(item.At):
		err = s.drop(ctx, item)
	case sch.Making != "":
		err = s.end(ctx, item, sch)
	case sch.Next.IsZero() || now.Before(sch.Next):
		err = s.step(ctx, item, func(_ etcdschema.Snapshot, sch *etcdschema.Schedule) ([]etcdschema.Op, error) {
			return plan.DueAt(sch, sch.Next, now), nil
		})
	case sch.Instance == "":
		err = s.spread(ctx, item, sch)
	default:
		err = s.begin(ctx, item, sch)
	}
	if errors.Is(err, due.ErrBefore) {
		return nil
	}
	return err
}

// drop takes away the key of a schedule that is gone, or is due at another time.
func (s *Schedules) drop(ctx context.Context, item due.Item) error {
	return due.Forget(ctx, s.Control.Store, item, plan.DueSchedule, etcdschema.ScheduleKey(item.Project, item.ID), func(one etcdschema.Schedule) time.Time { return one.Due })
}

// step decides over a schedule that is still due as the item says, and writes it.
func (s *Schedules) step(ctx context.Context, item due.Item, decide func(etcdschema.Snapshot, *etcdschema.Schedule) ([]etcdschema.Op, error)) error {
	err := s.change(ctx, item.Project, item.ID, func(snap etcdschema.Snapshot, sch *etcdschema.Schedule) ([]etcdschema.Op, error) {
		if !sch.Due.Equal(item.At) {
			return nil, due.ErrBefore
		}
		ops, err := decide(snap, sch)
		return append(ops, put(*sch)), err
	})
	if fault.IsNotFound(err) {
		return due.ErrBefore
	}
	return err
}

// begin asks for the backup of a run, and says in the same transaction that it is being made. An instance that cannot make one now is waited for.
func (s *Schedules) begin(ctx context.Context, item due.Item, sch etcdschema.Schedule) error {
	c := control.Caller{Project: sch.Project, Who: identity.Who{UserName: "schedule " + sch.Name}}
	if sch.Kind == etcdschema.ScheduleDrill {
		return s.beginDrill(ctx, c, item, sch)
	}
	id, parent, err := s.where(ctx, c, sch)
	req := control.BackupRequest{
		Name: backupName(sch), Description: "made by schedule " + sch.ID, Instance: id, ParentID: parent, Schedule: sch.ID,
	}
	if err == nil {
		err = s.ask(ctx, c, item, sch, req)
	}
	why := fault.Refusal(err)
	if why == nil || errors.Is(err, due.ErrBefore) || ctx.Err() != nil {
		return err
	}
	return s.wait(ctx, item, why.Message)
}

// ask asks for the backup of a run that is still due as the item says.
func (s *Schedules) ask(ctx context.Context, c control.Caller, item due.Item, sch etcdschema.Schedule, req control.BackupRequest) error {
	now := s.Control.Now().UTC()
	_, err := s.Control.NewBackup(ctx, c, req, func(p *plan.Plan, b etcdschema.Backup) error {
		rec, err := etcdschema.Read(p.Snap, etcdschema.ScheduleKey(sch.Project, sch.ID))
		if err == nil {
			err = stillThere(p.Snap, rec.Value, b.Instance)
		}
		if err != nil {
			return err
		}
		if !rec.Found || !rec.Value.Due.Equal(item.At) {
			return due.ErrBefore
		}
		is := rec.Value
		is.Last = &etcdschema.ScheduleRun{Planned: is.Next, At: now, Backup: b.BackupID, Instance: b.Instance}
		is.Making, is.Waiting, is.Next = b.BackupID, never, following(is, now)
		p.Put(append(plan.DueAt(&is, now.Add(lookFirst), now), put(is))...)
		return nil
	})
	return err
}

// backupName tells a run's backup from others, and is no longer than a name may be.
func backupName(sch etcdschema.Schedule) string {
	name := []rune(sch.Name)
	return fmt.Sprintf("%s %s", string(name[:min(len(name), 200)]), sch.Next.UTC().Format("2006-01-02 15:04"))
}

// wait has a run wait for its instance until its window has passed; then it is skipped.
func (s *Schedules) wait(ctx context.Context, item due.Item, reason string) error {
	now := s.Control.Now().UTC()
	return s.step(ctx, item, func(snap etcdschema.Snapshot, sch *etcdschema.Schedule) ([]etcdschema.Op, error) {
		if sch.Waiting.IsZero() {
			sch.Waiting = now
		}
		end := sch.Waiting.Add(time.Duration(sch.WindowMinutes) * time.Minute)
		if now.Before(end) {
			at := now.Add(tryAgain)
			if at.After(end) {
				at = end
			}
			return plan.DueAt(sch, at, now), nil
		}
		sch.Last = &etcdschema.ScheduleRun{Planned: sch.Next, At: now, Ended: now, Result: etcdschema.RunSkipped, Reason: reason}
		sch.Next, sch.Waiting = following(*sch, now), never
		told, err := s.tell(snap, *sch, fmt.Sprintf("schedule %s was skipped: %s", sch.Name, reason))
		return append(plan.DueAt(sch, sch.Next, now), told...), err
	})
}

// end looks how the backup of a run has ended, and takes away what need not be kept.
func (s *Schedules) end(ctx context.Context, item due.Item, sch etcdschema.Schedule) error {
	now := s.Control.Now().UTC()
	run := etcdschema.ScheduleRun{}
	if sch.Last != nil {
		run = *sch.Last
	}
	if run.Drill != "" {
		return s.endDrill(ctx, item, sch, run)
	}
	rec, err := etcdschema.Get(ctx, s.Control.Store, etcdschema.BackupKey(sch.Project, sch.Making))
	switch b := rec.Value; {
	case err != nil && !errors.Is(err, etcdschema.ErrNotFound):
		return err
	case rec.Found && b.Running():
		return s.later(ctx, item, run.At)
	case rec.Found && b.Status == etcdschema.BackupCompleted:
		run.Result, run.Ended = etcdschema.RunMade, b.Updated
		if err := s.expire(ctx, sch); err != nil {
			s.Control.Log.Warn("what a schedule need not keep could not all be removed; its next run tries again", "schedule_id", sch.ID, "err", err)
		}
	case rec.Found:
		run.Result, run.Ended, run.Reason = etcdschema.RunFailed, b.Updated, b.Fault
	default:
		run.Result, run.Ended, run.Reason = etcdschema.RunFailed, now, "The backup was deleted."
	}
	return s.ended(ctx, item, run, fmt.Sprintf("the backup of schedule %s failed: %s", sch.Name, run.Reason))
}

// tell adds a line to the timeline of a schedule's instance.
func (s *Schedules) tell(snap etcdschema.Snapshot, sch etcdschema.Schedule, message string) ([]etcdschema.Op, error) {
	key := etcdschema.InstanceKey(sch.Project, sch.Instance)
	rec, err := etcdschema.Read(snap, key)
	if err != nil || !rec.Found {
		return nil, err
	}
	ops := plan.Tell(&rec.Value, etcdschema.Event{At: s.Control.Now().UTC(), Kind: "note", Message: message})
	return append(ops, etcdschema.Put(key, rec.Value)), nil
}
