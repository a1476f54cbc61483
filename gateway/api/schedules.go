package api

import (
	"net/http"
	"slices"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/drills"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/schedules"
)

// scheduleView is a schedule as clients see it. Trove has none.
type scheduleView struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	ProjectID  string   `json:"project_id"`
	InstanceID *string  `json:"instance_id"` // null: a default of the project; of a set its source, of a cluster one of its members
	ClusterID  *string  `json:"cluster_id"`  // null: it is not of a cluster
	Scope      string   `json:"scope"`       // instance, set, cluster, project
	Default    bool     `json:"default"`
	From       *string  `json:"default_id"` // null: it is not made from one
	Kind       string   `json:"kind"`
	Cron       *string  `json:"cron"`
	Zone       *string  `json:"timezone"`
	EveryHours *int     `json:"every_hours"`
	Window     int      `json:"window_minutes"`
	FullEvery  int      `json:"full_every"`
	Keep       int      `json:"keep"`      // 0: all
	KeepDays   int      `json:"keep_days"` // 0: of any age
	Latest     bool     `json:"latest"`    // of drills: as far as the log was shipped
	Question   bool     `json:"question"`  // of drills: something is asked; what it is nobody is told
	Enabled    bool     `json:"enabled"`
	Created    string   `json:"created"`
	Updated    string   `json:"updated"`
	NextRun    *string  `json:"next_run"`
	Waiting    *string  `json:"waiting_since"` // of a run whose instance is busy
	LastRun    *runView `json:"last_run"`
}

type runView struct {
	Planned  string  `json:"planned"`
	Began    string  `json:"began"`
	Ended    *string `json:"ended"`
	Result   string  `json:"result"` // running, completed, failed, skipped
	Reason   *string `json:"reason"`
	BackupID *string `json:"backup_id"`   // that was made, or restored
	Instance *string `json:"instance_id"` // that has made it; null: it was a drill
	DrillID  *string `json:"drill_id"`    // null: it was none
}

func viewSchedule(s etcdschema.Schedule) scheduleView {
	v := scheduleView{
		ID: s.ID, Name: s.Name, ProjectID: s.Project, InstanceID: optional(s.Instance), ClusterID: optional(s.Cluster), Scope: scope(s), Default: s.Instance == "", From: optional(s.From), Kind: s.Kind, Cron: optional(s.When.Cron), Window: s.WindowMinutes,
		FullEvery: s.FullEvery, Keep: s.Keep, KeepDays: s.KeepDays, Latest: s.Latest, Question: len(s.Question) > 0, Enabled: !s.Disabled, Created: control.Stamp(s.Created), Updated: control.Stamp(s.Updated),
		NextRun: moment(s.Next), Waiting: moment(s.Waiting),
	}
	if s.When.Cron == "" {
		v.EveryHours = &s.When.EveryHours
	} else {
		zone := "UTC"
		if s.When.Zone != "" {
			zone = s.When.Zone
		}
		v.Zone = &zone
	}
	if run := s.Last; run != nil {
		v.LastRun = &runView{
			Planned: control.Stamp(run.Planned), Began: control.Stamp(run.At), Ended: moment(run.Ended), Result: run.Result, Reason: optional(run.Reason),
			BackupID: optional(run.Backup), Instance: optional(run.Instance), DrillID: optional(run.Drill),
		}
		if run.Result == "" {
			v.LastRun.Result = "running"
		}
	}
	return v
}

// scope says of what a schedule is.
func scope(s etcdschema.Schedule) string {
	switch {
	case s.Instance == "":
		return "project"
	case s.Cluster != "":
		return "cluster"
	case s.Whole:
		return "set"
	}
	return "instance"
}

// moment is null in JSON when it is zero.
func moment(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := control.Stamp(t)
	return &s
}

// listSchedules lists the project's schedules, or those of the instance that the query names, all on one page: an instance has few.
func (a *API) listSchedules(r *request) (reply, error) {
	all, err := a.Schedules.List(r.ctx, r.Caller, r.query("instance_id"))
	if err != nil {
		return reply{}, err
	}
	slices.SortStableFunc(all, func(a, b etcdschema.Schedule) int { return b.Created.Compare(a.Created) })
	views := []scheduleView{}
	for _, s := range all {
		views = append(views, viewSchedule(s))
	}
	return reply{http.StatusOK, listBody("schedules", views, nil)}, nil
}

func (a *API) showSchedule(r *request) (reply, error) {
	s, err := a.Schedules.Find(r.ctx, r.Caller, r.param("id"))
	return reply{http.StatusOK, map[string]any{"schedule": viewSchedule(s)}}, err
}

func decodeSchedule(r *request) (schedules.Request, error) {
	body, err := decode[struct {
		Schedule *schedules.Request `json:"schedule"`
	}](r)
	if err != nil {
		return schedules.Request{}, err
	}
	if body.Schedule == nil {
		return schedules.Request{}, fault.Errorf(fault.BadRequest, "Validation error: 'schedule' is a required property.")
	}
	return *body.Schedule, nil
}

func (a *API) createSchedule(r *request) (reply, error) {
	req, err := decodeSchedule(r)
	if err != nil {
		return reply{}, err
	}
	s, err := a.Schedules.New(r.ctx, r.Caller, req)
	return reply{http.StatusOK, map[string]any{"schedule": viewSchedule(s)}}, err
}

func (a *API) patchSchedule(r *request) (reply, error) {
	req, err := decodeSchedule(r)
	if err != nil {
		return reply{}, err
	}
	s, err := a.Schedules.Edit(r.ctx, r.Caller, r.param("id"), req)
	return reply{http.StatusOK, map[string]any{"schedule": viewSchedule(s)}}, err
}

func (a *API) deleteSchedule(r *request) (reply, error) {
	return accepted(a.Schedules.Remove(r.ctx, r.Caller, r.param("id")))
}

func (a *API) actOnSchedule(r *request) (reply, error) {
	action, _, err := oneAction(r)
	if err != nil {
		return reply{}, err
	}
	if action != "run" {
		return reply{}, fault.Errorf(fault.BadRequest, "Action %q is unknown; allowed: run.", action)
	}
	return accepted(a.Schedules.RunNow(r.ctx, r.Caller, r.param("id")))
}

// drillView is a drill as clients see it. Trove has none.
type drillView struct {
	ID         string  `json:"id"`
	InstanceID string  `json:"instance_id"`
	ScheduleID *string `json:"schedule_id"` // null: somebody asked for it
	User       *string `json:"user"`
	BackupID   string  `json:"backup_id"`
	BackupAt   string  `json:"backup_completed"`
	BackupSize float64 `json:"backup_size"` // GB
	Time       *string `json:"time"`        // up to where the log was replayed; null: it was not
	ProbeID    string  `json:"restored_instance_id"`

	Step     *string `json:"step"`   // restore, check, remove; null: it is over
	Result   string  `json:"result"` // running, passed, failed
	Reason   *string `json:"reason"`
	Began    string  `json:"began"`
	Restored *string `json:"restored"`
	Checked  *string `json:"checked"`
	Ended    *string `json:"ended"`
	// RestoreSeconds is how long it took until what was kept was a running server; null: it never was, or is not yet.
	RestoreSeconds *float64                `json:"restore_seconds"`
	VolumeUsed     *float64                `json:"volume_used"` // GB, of the restored instance; null: it is not known
	Check          *datastores.CheckReport `json:"check"`       // null: it was not looked at
}

func viewDrill(instance string, d etcdschema.Drill) drillView {
	v := drillView{
		ID: d.ID, InstanceID: instance, ScheduleID: optional(d.Schedule), User: optional(d.By), BackupID: d.Backup, BackupAt: control.Stamp(d.Made),
		BackupSize: gigabytes(d.Bytes), ProbeID: d.Probe, Step: optional(d.Step), Result: d.Result, Reason: optional(d.Reason),
		Began: control.Stamp(d.Begun), Restored: moment(d.Restored), Checked: moment(d.Checked), Ended: moment(d.Ended), Check: d.Report,
	}
	if d.Step != "" {
		v.Result = "running"
	}
	if !d.Point.IsZero() {
		at := precise(d.Point)
		v.Time = &at
	}
	if took := d.Restoring(); took > 0 {
		seconds := thousandths(took.Seconds())
		v.RestoreSeconds = &seconds
	}
	if d.Used > 0 {
		used := gigabytes(d.Used)
		v.VolumeUsed = &used
	}
	return v
}

// listDrills lists the drills of an instance, the newest first, that under way among them: as many as are kept, all on one page.
func (a *API) listDrills(r *request) (reply, error) {
	all, err := a.Drills.Of(r.ctx, r.Caller, r.param("id"))
	if err != nil {
		return reply{}, err
	}
	views := []drillView{}
	if all.Now != nil {
		views = append(views, viewDrill(all.Instance, *all.Now))
	}
	for _, d := range all.Past {
		views = append(views, viewDrill(all.Instance, d))
	}
	return reply{http.StatusOK, listBody("drills", views, nil)}, nil
}

func (a *API) createDrill(r *request) (reply, error) {
	body, err := decode[struct {
		Drill *drills.Request `json:"drill"`
	}](r)
	if err == nil && body.Drill == nil {
		err = fault.Errorf(fault.BadRequest, "Validation error: 'drill' is a required property.")
	}
	if err != nil {
		return reply{}, err
	}
	d, err := a.Drills.Begin(r.ctx, r.Caller, r.param("id"), *body.Drill)
	return reply{http.StatusAccepted, map[string]any{"drill": viewDrill(r.param("id"), d)}}, err
}
