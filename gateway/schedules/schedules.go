// Package schedules has instances backed up at times, and takes away what need not be kept. A run asks the control plane for a backup as a
// client would; when it is due stands in the due index, so that any gateway lets it happen, once.
package schedules

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/drills"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Schedules are the schedules of all projects.
type Schedules struct {
	Control *control.Plane
	Drills  *drills.Drills
}

// What a schedule has that does not say.
const (
	defaultWindow    = 60 // minutes
	defaultFullEvery = 7
	maxWindow        = 7 * 24 * 60
	maxFullEvery     = 50
	maxKeep          = 10_000
)

// Request is what a client says of a schedule; what it does not say stays as it is.
type Request struct {
	Name       *string `json:"name"`
	Instance   string  `json:"instance"`
	Default    bool    `json:"default"`
	Scope      string  `json:"scope"` // "", "instance" or "set"
	Kind       *string `json:"kind"`
	Cron       *string `json:"cron"`
	Zone       *string `json:"timezone"`
	EveryHours *int    `json:"every_hours"`
	Window     *int    `json:"window_minutes"`
	FullEvery  *int    `json:"full_every"`
	Keep       *int    `json:"keep"`
	KeepDays   *int    `json:"keep_days"`
	Enabled    *bool   `json:"enabled"`

	Latest   *bool            `json:"latest"`   // of drills
	Question *drills.Question `json:"question"` // of drills; an empty one: nothing is asked any more
}

// into changes a schedule as the request says, or refuses it with 400.
func (req Request) into(sch *etcdschema.Schedule) error {
	set(&sch.Name, req.Name)
	set(&sch.Kind, req.Kind)
	if req.Cron != nil && *req.Cron != "" && req.EveryHours == nil {
		sch.When.EveryHours = 0
	}
	if req.EveryHours != nil && *req.EveryHours != 0 && req.Cron == nil {
		sch.When.Cron, sch.When.Zone = "", ""
	}
	set(&sch.When.Cron, req.Cron)
	set(&sch.When.Zone, req.Zone)
	set(&sch.When.EveryHours, req.EveryHours)
	set(&sch.WindowMinutes, req.Window)
	set(&sch.FullEvery, req.FullEvery)
	set(&sch.Keep, req.Keep)
	set(&sch.KeepDays, req.KeepDays)
	set(&sch.Latest, req.Latest)
	if req.Enabled != nil {
		sch.Disabled = !*req.Enabled
	}
	if !control.ValidName(sch.Name) {
		return fault.Errorf(fault.BadRequest, "Validation error: schedule['name'] must be a string of 1 to 255 characters with a letter or digit.")
	}
	if kinds := []string{etcdschema.ScheduleFull, etcdschema.ScheduleIncremental, etcdschema.ScheduleDrill}; !slices.Contains(kinds, sch.Kind) {
		return fault.Errorf(fault.BadRequest, "Validation error: schedule['kind'] must be one of %s.", strings.Join(kinds, ", "))
	}
	if err := req.drillOnly(sch); err != nil {
		return err
	}
	for _, n := range []struct {
		what           string
		is, least, top int
	}{
		{"window_minutes", sch.WindowMinutes, 1, maxWindow}, {"full_every", sch.FullEvery, 1, maxFullEvery},
		{"keep", sch.Keep, 0, maxKeep}, {"keep_days", sch.KeepDays, 0, maxKeep},
	} {
		if n.is < n.least || n.is > n.top {
			return fault.Errorf(fault.BadRequest, "Validation error: schedule['%s'] must be from %d to %d.", n.what, n.least, n.top)
		}
	}
	return CheckWhen(sch.When)
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// New makes a schedule of an instance, or a default of the project.
func (s *Schedules) New(ctx context.Context, c control.Caller, req Request) (sch etcdschema.Schedule, err error) {
	cp := s.Control
	if (req.Instance == "") != req.Default {
		return sch, fault.Errorf(fault.BadRequest, "Validation error: schedule['instance'] is required, the id of the instance to back up; or schedule['default'] true, for every instance of the project.")
	}
	now := cp.Now().UTC()
	sch = etcdschema.Schedule{
		ID: plan.NewID(), Project: c.Project, Instance: control.LastPart(req.Instance), Kind: etcdschema.ScheduleFull,
		WindowMinutes: defaultWindow, FullEvery: defaultFullEvery, Created: now, Updated: now,
	}
	if err := cmp.Or(req.into(&sch), s.seal(&sch, req.Question)); err != nil {
		return sch, err
	}
	if req.Default {
		return sch, s.newDefault(ctx, &sch)
	}
	if err := s.of(ctx, c, req, &sch); err != nil {
		return sch, err
	}
	key, asked := etcdschema.InstanceKey(c.Project, sch.Instance), sch
	_, err = cp.Store.Update(ctx, []etcdschema.Ref{key}, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(snap, key)
		in, err := fault.Found(rec, err, "Instance", sch.Instance)
		if err != nil {
			return nil, err
		}
		sch = asked // at each try anew
		return s.added(in, &sch, following(sch, now))
	})
	return sch, err
}

// of finds out of what a new schedule is, and refuses what it cannot be.
func (s *Schedules) of(ctx context.Context, c control.Caller, req Request, sch *etcdschema.Schedule) error {
	if !slices.Contains([]string{"", "instance", "set"}, req.Scope) {
		return fault.Errorf(fault.BadRequest, "Validation error: schedule['scope'] must be one of instance, set. A schedule of a cluster has the cluster's id as its instance.")
	}
	sch.Whole = req.Scope == "set"
	in, err := s.Control.Instance(ctx, c, sch.Instance)
	switch cluster, none := s.Control.FindCluster(ctx, c.Project, sch.Instance); {
	case fault.IsNotFound(err) && none == nil && len(cluster.Instances) > 0:
		sch.Whole, sch.Cluster, sch.Instance = true, cluster.ID, cluster.Instances[0].ID
		return s.scope(ctx, *sch)
	case err != nil:
		return err
	case in.Clustered():
		return fault.Errorf(fault.NotImplemented, "Operation not supported for instances that are part of a cluster: make a schedule of cluster %s.", in.SetID)
	case sch.Whole && in.ReplicaOf() != "":
		sch.Instance = in.ReplicaOf()
	}
	return cmp.Or(s.scope(ctx, *sch), s.Control.MayBackUp(ctx, in.Instance, sch.Kind == etcdschema.ScheduleIncremental))
}

// added gives an instance one more schedule, whose first run is due at a time.
func (s *Schedules) added(in etcdschema.Instance, sch *etcdschema.Schedule, first time.Time) ([]etcdschema.Op, error) {
	limit := s.Control.Limits
	if err := plan.NoDrill(in); err != nil {
		return nil, err
	}
	if !limit.Within("schedules", int64(len(in.Schedules)+1)) {
		return nil, limits.Over("schedules", fault.OverLimit, "Instance %s has %d schedules; an instance may have %d.", in.ID, len(in.Schedules), limit.Value("schedules"))
	}
	in.Schedules = append(slices.Clone(in.Schedules), sch.ID)
	sch.Next = first
	return append(plan.DueAt(sch, first, s.Control.Now()), put(*sch), etcdschema.Put(etcdschema.InstanceKey(in.Project, in.ID), in)), nil
}

// planned writes a schedule whose next run is worked out anew from now on.
func (s *Schedules) planned(sch *etcdschema.Schedule) []etcdschema.Op {
	now := s.Control.Now()
	sch.Next = following(*sch, now)
	if sch.Making != "" { // what goes on is looked after first
		return []etcdschema.Op{put(*sch)}
	}
	return append(plan.DueAt(sch, sch.Next, now), put(*sch))
}

func put(sch etcdschema.Schedule) etcdschema.Op {
	return etcdschema.Put(etcdschema.ScheduleKey(sch.Project, sch.ID), sch)
}

// List are all schedules of a project, of one instance or cluster unless that is "".
func (s *Schedules) List(ctx context.Context, c control.Caller, instance string) (all []etcdschema.Schedule, err error) {
	list, err := etcdschema.List(ctx, s.Control.Store, etcdschema.Schedules(c.Project), etcdschema.Page{})
	for _, rec := range list.Records {
		if instance == "" || rec.Value.Instance == instance || rec.Value.Cluster == instance {
			all = append(all, rec.Value)
		}
	}
	return all, err
}

// Find reads the schedule of an id.
func (s *Schedules) Find(ctx context.Context, c control.Caller, id string) (etcdschema.Schedule, error) {
	rec, err := etcdschema.Get(ctx, s.Control.Store, etcdschema.ScheduleKey(c.Project, id))
	if fault.IsNotFound(err) {
		err = fault.NotFound("Schedule", id)
	}
	return rec.Value, err
}

// change decides over a schedule and the changes that go with it.
func (s *Schedules) change(ctx context.Context, project, id string, decide func(etcdschema.Snapshot, *etcdschema.Schedule) ([]etcdschema.Op, error)) error {
	key := etcdschema.ScheduleKey(project, id)
	_, err := s.Control.Store.Update(ctx, []etcdschema.Ref{key}, func(snap etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(snap, key)
		sch, err := fault.Found(rec, err, "Schedule", id)
		if err != nil {
			return nil, err
		}
		return decide(snap, &sch)
	})
	return err
}

// Edit changes a schedule. A run that waits is given up when its time is another now.
func (s *Schedules) Edit(ctx context.Context, c control.Caller, id string, req Request) (after etcdschema.Schedule, err error) {
	if req.Instance != "" || req.Default || req.Scope != "" {
		return after, fault.Errorf(fault.BadRequest, "Validation error: a schedule stays with its instance; make another one.")
	}
	now, err := s.Find(ctx, c, id)
	if err != nil {
		return after, err
	}
	if now.From != "" && req != (Request{Enabled: req.Enabled}) {
		return after, fault.Errorf(fault.Conflict, "Schedule %s is made from the project's default %s: change that one. Only enabled is this one's own.", id, now.From)
	}
	if now.Instance == "" {
		return s.editDefault(ctx, c, now, req)
	}
	if req.Kind != nil {
		kind := now
		kind.Kind = *req.Kind
		if err := s.scope(ctx, kind); err != nil {
			return after, err
		}
	}
	if req.Kind != nil && *req.Kind == etcdschema.ScheduleIncremental {
		in, err := s.Control.Instance(ctx, c, now.Instance)
		if err == nil {
			err = s.Control.MayBackUp(ctx, in.Instance, true)
		}
		if err != nil {
			return after, err
		}
	}
	return s.edit(ctx, c.Project, id, s.into(req))
}

// into changes a schedule as the request says, its question with it. What has been begun is ended as what it was begun as.
func (s *Schedules) into(req Request) func(*etcdschema.Schedule) error {
	return func(sch *etcdschema.Schedule) error {
		was := sch.Kind
		if err := req.into(sch); err != nil {
			return err
		}
		if sch.Making != "" && (was == etcdschema.ScheduleDrill) != (sch.Kind == etcdschema.ScheduleDrill) {
			return fault.Errorf(fault.Unprocessable, "A run of schedule %s goes on; change its kind when that is over.", sch.ID)
		}
		return s.seal(sch, req.Question)
	}
}

// edit changes a schedule and, where its times are others then, when it is due.
func (s *Schedules) edit(ctx context.Context, project, id string, into func(*etcdschema.Schedule) error) (after etcdschema.Schedule, err error) {
	err = s.change(ctx, project, id, func(_ etcdschema.Snapshot, sch *etcdschema.Schedule) ([]etcdschema.Op, error) {
		when, disabled := sch.When, sch.Disabled
		if err := into(sch); err != nil {
			return nil, err
		}
		sch.Updated = s.Control.Now().UTC()
		ops := []etcdschema.Op{put(*sch)}
		if sch.When != when || sch.Disabled != disabled {
			sch.Waiting = never
			ops = s.planned(sch)
		}
		after = *sch
		return ops, nil
	})
	return after, err
}

// Remove ends a schedule. Its backups stay. With a default go those that are made from it.
func (s *Schedules) Remove(ctx context.Context, c control.Caller, id string) error {
	now, err := s.Find(ctx, c, id)
	switch {
	case err != nil:
		return err
	case now.From != "":
		return fault.Errorf(fault.Conflict, "Schedule %s is made from the project's default %s and would come back: disable it.", id, now.From)
	case now.Instance == "":
		return s.removeDefault(ctx, now)
	}
	return s.remove(ctx, c.Project, id)
}

func (s *Schedules) remove(ctx context.Context, project, id string) error {
	return s.change(ctx, project, id, func(snap etcdschema.Snapshot, sch *etcdschema.Schedule) ([]etcdschema.Op, error) {
		ops := append(plan.DueAt(sch, never, s.Control.Now()), etcdschema.Delete(etcdschema.ScheduleKey(sch.Project, sch.ID)))
		key := etcdschema.InstanceKey(sch.Project, sch.Instance)
		in, err := etcdschema.Read(snap, key)
		if err == nil && in.Found {
			in.Value.Schedules = plan.WithMember(in.Value.Schedules, sch.ID, false)
			ops = append(ops, etcdschema.Put(key, in.Value))
		}
		return ops, err
	})
}

// RunNow has a run begin at once, whatever the time. It refuses with 422 while a run goes on.
func (s *Schedules) RunNow(ctx context.Context, c control.Caller, id string) error {
	return s.change(ctx, c.Project, id, func(_ etcdschema.Snapshot, sch *etcdschema.Schedule) ([]etcdschema.Op, error) {
		if sch.Instance == "" {
			return nil, fault.Errorf(fault.Unprocessable, "Schedule %s is a default, which does nothing itself: run that of an instance.", sch.ID)
		}
		if sch.Making != "" {
			return nil, fault.Errorf(fault.Unprocessable, "A run of schedule %s goes on (%s); wait until that is over.", sch.ID, sch.Making)
		}
		now := s.Control.Now().UTC()
		sch.Next, sch.Waiting = now, never
		return append(plan.DueAt(sch, now, now), put(*sch)), nil
	})
}
