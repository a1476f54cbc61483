package schedules

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/drills"
	"github.com/cofferdb/coffer/gateway/due"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/plan"
)

// drillOnly refuses with 400 what only a schedule of drills has.
func (req Request) drillOnly(sch *etcdschema.Schedule) error {
	if sch.Kind != etcdschema.ScheduleDrill && (req.Question != nil && *req.Question != drills.Question{} || sch.Latest) {
		return fault.Errorf(fault.BadRequest, "Validation error: schedule['question'] and schedule['latest'] go with the kind %q.", etcdschema.ScheduleDrill)
	}
	if req.Question != nil {
		return req.Question.Check("schedule")
	}
	return nil
}

// seal keeps the question of a request in its schedule; one of another kind than drills has none.
func (s *Schedules) seal(sch *etcdschema.Schedule, q *drills.Question) (err error) {
	switch {
	case sch.Kind != etcdschema.ScheduleDrill:
		sch.Question = nil
	case q != nil:
		sch.Question, err = plan.SealQuestion(s.Control.Keys, placeOf(*sch), q.Secret())
	}
	return err
}

func placeOf(sch etcdschema.Schedule) string {
	return etcdschema.ScheduleKey(sch.Project, sch.ID).String()
}

// question is what a schedule's drills ask.
func (s *Schedules) question(sch etcdschema.Schedule) (datastores.Question, error) {
	return plan.OpenQuestion(s.Control.Keys, placeOf(sch), sch.Question)
}

// beginDrill asks for the drill of a run, and says in the same transaction that it is under way.
func (s *Schedules) beginDrill(ctx context.Context, c control.Caller, item due.Item, sch etcdschema.Schedule) error {
	now := s.Control.Now().UTC()
	req := drills.Request{Latest: sch.Latest, Schedule: sch.ID, Sealed: func() (datastores.Question, error) { return s.question(sch) }}
	_, err := s.Drills.Begin(ctx, c, sch.Instance, req, func(snap etcdschema.Snapshot, d etcdschema.Drill) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(snap, etcdschema.ScheduleKey(sch.Project, sch.ID))
		if err != nil {
			return nil, err
		}
		if !rec.Found || !rec.Value.Due.Equal(item.At) {
			return nil, due.ErrBefore
		}
		is := rec.Value
		is.Last = &etcdschema.ScheduleRun{Planned: is.Next, At: now, Backup: d.Backup, Drill: d.ID}
		is.Making, is.Waiting, is.Next = d.ID, never, following(is, now)
		return append(plan.DueAt(&is, now.Add(lookFirst), now), put(is)), nil
	})
	why := fault.Refusal(err)
	if why == nil || errors.Is(err, due.ErrBefore) || ctx.Err() != nil {
		return err
	}
	return s.wait(ctx, item, why.Message)
}

// endDrill looks how the drill of a run has ended.
func (s *Schedules) endDrill(ctx context.Context, item due.Item, sch etcdschema.Schedule, run etcdschema.ScheduleRun) error {
	now := s.Control.Now().UTC()
	all, err := s.Drills.Of(ctx, control.Caller{Project: sch.Project}, sch.Instance)
	if err != nil && !fault.IsNotFound(err) {
		return err
	}
	if all.Now != nil && all.Now.ID == sch.Making {
		return s.later(ctx, item, run.At)
	}
	run.Result, run.Ended, run.Reason = etcdschema.RunFailed, now, "What the drill has found is not kept any more."
	if i := slices.IndexFunc(all.Past, func(d etcdschema.Drill) bool { return d.ID == sch.Making }); i >= 0 {
		d := all.Past[i]
		run.Ended, run.Reason = d.Ended, d.Reason
		if d.Result == etcdschema.DrillPassed {
			run.Result = etcdschema.RunMade
		}
	}
	return s.ended(ctx, item, run, fmt.Sprintf("the drill of schedule %s failed: %s", sch.Name, run.Reason))
}

// later looks again at what a run that began at a time does.
func (s *Schedules) later(ctx context.Context, item due.Item, began time.Time) error {
	now := s.Control.Now()
	return s.step(ctx, item, func(_ etcdschema.Snapshot, sch *etcdschema.Schedule) ([]etcdschema.Op, error) {
		return plan.DueAt(sch, now.Add(min(max(now.Sub(began)/4, lookFirst), lookLatest)), now), nil
	})
}

// ended writes how a run has ended; a failure is told.
func (s *Schedules) ended(ctx context.Context, item due.Item, run etcdschema.ScheduleRun, failed string) error {
	return s.step(ctx, item, func(snap etcdschema.Snapshot, sch *etcdschema.Schedule) (ops []etcdschema.Op, err error) {
		sch.Making, sch.Last = "", &run
		if run.Result == etcdschema.RunFailed {
			ops, err = s.tell(snap, *sch, failed)
		}
		return append(ops, plan.DueAt(sch, sch.Next, s.Control.Now().UTC())...), err
	})
}
