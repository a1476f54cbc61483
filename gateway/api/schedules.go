package api

import (
	"net/http"
	"slices"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/schedules"
)

// scheduleView is a schedule as clients see it. Trove has none.
type scheduleView struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	ProjectID  string   `json:"project_id"`
	InstanceID *string  `json:"instance_id"` // null: a default of the project
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
	BackupID *string `json:"backup_id"`
}

func viewSchedule(s etcdschema.Schedule) scheduleView {
	v := scheduleView{
		ID: s.ID, Name: s.Name, ProjectID: s.Project, InstanceID: optional(s.Instance), Default: s.Instance == "", From: optional(s.From), Kind: s.Kind, Cron: optional(s.When.Cron), Window: s.WindowMinutes,
		FullEvery: s.FullEvery, Keep: s.Keep, KeepDays: s.KeepDays, Enabled: !s.Disabled, Created: control.Stamp(s.Created), Updated: control.Stamp(s.Updated),
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
			BackupID: optional(run.Backup),
		}
		if run.Result == "" {
			v.LastRun.Result = "running"
		}
	}
	return v
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
