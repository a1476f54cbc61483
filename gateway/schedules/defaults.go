package schedules

import (
	"context"
	"fmt"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/due"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/plan"
)

// newDefault makes a default of a project.
func (s *Schedules) newDefault(ctx context.Context, def *etcdschema.Schedule) error {
	asked := *def
	return s.countDefaults(ctx, def.Project, 1, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		*def = asked // at each try anew
		return s.planned(def), nil
	})
}

// countDefaults changes how many defaults a project has, with what else is decided.
func (s *Schedules) countDefaults(ctx context.Context, project string, by int, decide func(etcdschema.Snapshot) ([]etcdschema.Op, error)) error {
	key, limit := etcdschema.UsageKey(project), s.Control.Limits
	_, err := s.Control.Store.Update(ctx, []etcdschema.Ref{key}, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
		usage, err := etcdschema.Read(snap, key)
		if err != nil {
			return nil, err
		}
		n := max(0, usage.Value.Defaults+by)
		if by > 0 && !limit.Within("default_schedules", int64(n)) {
			return nil, limits.Over("default_schedules", fault.OverLimit, "The project has %d default schedules; it may have %d.", n-by, limit.Value("default_schedules"))
		}
		usage.Value.Defaults = n
		ops, err := decide(snap)
		return append(ops, etcdschema.Put(key, usage.Value)), err
	})
	return err
}

// removeDefault ends a default, and first what is made from it: when that fails midway, the default is there to be removed again.
func (s *Schedules) removeDefault(ctx context.Context, def etcdschema.Schedule) error {
	made, err := s.madeFrom(ctx, def)
	if err != nil {
		return err
	}
	for _, sch := range made {
		if err := s.remove(ctx, sch.Project, sch.ID); err != nil && !fault.IsNotFound(err) {
			return err
		}
	}
	key := etcdschema.ScheduleKey(def.Project, def.ID)
	return s.countDefaults(ctx, def.Project, -1, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(snap, key)
		def, err := fault.Found(rec, err, "Schedule", def.ID)
		return append(plan.DueAt(&def, never, s.Control.Now()), etcdschema.Delete(key)), err
	})
}

// editDefault changes a default and then what is made from it; asked for once more, it does what it could not.
func (s *Schedules) editDefault(ctx context.Context, c control.Caller, def etcdschema.Schedule, req Request) (etcdschema.Schedule, error) {
	def, err := s.edit(ctx, def.Project, def.ID, s.into(req))
	if err != nil {
		return def, err
	}
	made, err := s.madeFrom(ctx, def)
	if err != nil {
		return def, err
	}
	for instance, sch := range made {
		in, err := s.Control.Instance(ctx, c, instance)
		if err == nil {
			_, err = s.edit(ctx, sch.Project, sch.ID, func(sch *etcdschema.Schedule) error {
				if req.Enabled != nil {
					sch.Disabled = def.Disabled
				}
				return s.like(ctx, sch, def, in.Instance)
			})
		}
		if err != nil && !fault.IsNotFound(err) {
			return def, err
		}
	}
	return def, nil
}

// like has a schedule be as its default is, as far as its instance can. Whether it is at rest it says itself.
func (s *Schedules) like(ctx context.Context, sch *etcdschema.Schedule, def etcdschema.Schedule, in etcdschema.Instance) error {
	sch.Name, sch.Kind, sch.When, sch.Created = def.Name, def.Kind, def.When, def.Created
	sch.WindowMinutes, sch.FullEvery, sch.Keep, sch.KeepDays = def.WindowMinutes, def.FullEvery, def.Keep, def.KeepDays
	if sch.Whole = def.Kind != etcdschema.ScheduleDrill; sch.Cluster != "" {
		sch.Disabled = sch.Disabled || !sch.Whole // drills are of instances
		sch.Whole, sch.Kind = true, etcdschema.ScheduleFull
	}
	if sch.Kind == etcdschema.ScheduleIncremental && s.Control.MayBackUp(ctx, in, true) != nil {
		sch.Kind = etcdschema.ScheduleFull
	}
	sch.Latest = def.Latest && in.RPO > 0
	q, err := s.question(def)
	if err == nil {
		sch.Question, err = plan.SealQuestion(s.Control.Keys, placeOf(*sch), q)
	}
	return err
}

// madeFrom are the schedules that are made from a default, by their instances.
func (s *Schedules) madeFrom(ctx context.Context, def etcdschema.Schedule) (map[string]etcdschema.Schedule, error) {
	all, err := s.List(ctx, control.Caller{Project: def.Project}, "")
	made := map[string]etcdschema.Schedule{}
	for _, sch := range all {
		if sch.From == def.ID {
			made[sch.Instance] = sch
		}
	}
	return made, err
}

// spread gives each instance that has none yet a schedule that is made from a default, and whose first run is due with that. A set has one,
// kept at its source, and so has a cluster.
func (s *Schedules) spread(ctx context.Context, item due.Item, def etcdschema.Schedule) error {
	cp, now := s.Control, s.Control.Now().UTC()
	made, err := s.madeFrom(ctx, def)
	if err != nil {
		return err
	}
	list, err := etcdschema.List(ctx, cp.Store, etcdschema.Instances(def.Project), etcdschema.Page{})
	if err != nil {
		return err
	}
	var all []etcdschema.Instance
	for _, rec := range list.Records {
		all = append(all, rec.Value)
	}
	members, err := cp.Members(ctx, etcdschema.Sets(def.Project), all)
	if err != nil {
		return err
	}
	for _, m := range members {
		source := m.ReplicaOf()
		if _, has := made[source]; has || made[m.ID].ID == "" || source == "" {
			continue
		}
		if err := s.move(ctx, made[m.ID], source); err != nil {
			return err
		}
		made[source] = made[m.ID]
	}
	full, clusters := 0, map[string]bool{}
	for _, m := range members {
		if m.Clustered() && made[m.ID].ID != "" {
			clusters[m.SetID] = true
		}
	}
	for _, m := range members {
		if made[m.ID].ID != "" || !m.Prepared || m.DrillOf != "" || m.ReplicaOf() != "" || clusters[m.SetID] || !s.fits(ctx, def, m) {
			continue
		}
		err := s.make(ctx, def, m)
		clusters[m.SetID] = m.Clustered()
		switch {
		case err == nil, fault.IsNotFound(err):
		case fault.Of(err, "").Kind == fault.OverLimit:
			full++
		default:
			return err
		}
	}
	run := etcdschema.ScheduleRun{Planned: def.Next, At: now, Ended: now, Result: etcdschema.RunMade}
	if full > 0 {
		run.Result, run.Reason = etcdschema.RunFailed, fmt.Sprintf("%d instances have as many schedules as they may have.", full)
	}
	return s.step(ctx, item, func(_ etcdschema.Snapshot, sch *etcdschema.Schedule) ([]etcdschema.Op, error) {
		sch.Last, sch.Next = &run, following(*sch, now)
		return plan.DueAt(sch, sch.Next, now), nil
	})
}

// fits reports whether an instance, or the cluster that it is in, can do what a default says.
func (s *Schedules) fits(ctx context.Context, def etcdschema.Schedule, m lifecycle.Member) bool {
	if !m.Clustered() {
		return s.Control.MayBackUp(ctx, m.Instance, false) == nil
	}
	_, err := s.Control.MayBackUpCluster(ctx, m.Set, false)
	return err == nil && def.Kind != etcdschema.ScheduleDrill && m.Set.Member(m.ID).State == ""
}

// make gives an instance, or its cluster, a schedule that is made from a default.
func (s *Schedules) make(ctx context.Context, def etcdschema.Schedule, in lifecycle.Member) error {
	now := s.Control.Now().UTC()
	sch := etcdschema.Schedule{ID: plan.NewID(), Project: def.Project, Instance: in.ID, From: def.ID, Updated: now}
	if in.Clustered() {
		sch.Cluster = in.SetID
	}
	if err := s.like(ctx, &sch, def, in.Instance); err != nil {
		return err
	}
	key, asked := etcdschema.InstanceKey(def.Project, in.ID), sch
	_, err := s.Control.Store.Update(ctx, []etcdschema.Ref{key}, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(snap, key)
		in, err := fault.Found(rec, err, "Instance", in.ID)
		if err != nil {
			return nil, err
		}
		for _, id := range in.Schedules { // another gateway may have been first
			other, err := etcdschema.Read(snap, etcdschema.ScheduleKey(def.Project, id))
			if err != nil || other.Value.From == def.ID {
				return nil, err
			}
		}
		sch = asked // at each try anew
		return s.added(in, &sch, def.Next)
	})
	return err
}

// move gives a schedule to the instance that has become the source of its own. What goes on is not disturbed: it is moved another time.
func (s *Schedules) move(ctx context.Context, sch etcdschema.Schedule, source string) error {
	err := s.change(ctx, sch.Project, sch.ID, func(snap etcdschema.Snapshot, sch *etcdschema.Schedule) ([]etcdschema.Op, error) {
		from, to := etcdschema.InstanceKey(sch.Project, sch.Instance), etcdschema.InstanceKey(sch.Project, source)
		old, err := etcdschema.Read(snap, from)
		if err != nil {
			return nil, err
		}
		is, err := etcdschema.Read(snap, to)
		if err != nil || !old.Found || !is.Found || sch.Making != "" {
			return nil, err
		}
		old.Value.Schedules = plan.WithMember(old.Value.Schedules, sch.ID, false)
		is.Value.Schedules = plan.WithMember(is.Value.Schedules, sch.ID, true)
		sch.Instance = source
		return []etcdschema.Op{put(*sch), etcdschema.Put(from, old.Value), etcdschema.Put(to, is.Value)}, nil
	})
	if fault.IsNotFound(err) {
		return nil
	}
	return err
}
