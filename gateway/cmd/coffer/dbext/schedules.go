package dbext

import (
	"context"
	"net/http"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"
)

// Schedule has an instance backed up at times.
type Schedule struct {
	ID         string       `json:"id"`
	Name       string       `json:"name"`
	Project    string       `json:"project_id"`
	Instance   string       `json:"instance_id"` // "": a default of the project; of a set its source, of a cluster one of its members
	Cluster    string       `json:"cluster_id"`  // "": it is not of a cluster
	Scope      string       `json:"scope"`       // instance, set, cluster, project
	Default    bool         `json:"default"`
	From       string       `json:"default_id"`  // "": it is made from no default
	Kind       string       `json:"kind"`        // full, incremental, drill
	Cron       string       `json:"cron"`        // minute, hour, day, month, weekday; "": EveryHours
	Zone       string       `json:"timezone"`    // of Cron
	EveryHours int          `json:"every_hours"` // 0: Cron
	Window     int          `json:"window_minutes"`
	FullEvery  int          `json:"full_every"`
	Keep       int          `json:"keep"`      // 0: all
	KeepDays   int          `json:"keep_days"` // 0: of any age
	Latest     bool         `json:"latest"`    // of drills: as far as the log was shipped
	Question   bool         `json:"question"`  // of drills: something is asked
	Enabled    bool         `json:"enabled"`
	NextRun    Time         `json:"next_run"`
	Waiting    Time         `json:"waiting_since"`
	LastRun    *ScheduleRun `json:"last_run"`
	Created    Time         `json:"created"`
	Updated    Time         `json:"updated"`
}

// ScheduleRun is one run of a schedule.
type ScheduleRun struct {
	Planned Time   `json:"planned"`
	Began   Time   `json:"began"`
	Ended   Time   `json:"ended"`
	Result  string `json:"result"` // running, completed, failed, skipped
	Reason  string `json:"reason"`
	Backup  string `json:"backup_id"`
	// Instance is who has made it; "": it was a drill.
	Instance string `json:"instance_id"`
	Drill    string `json:"drill_id"` // "": it was none
}

// ListSchedules reads the project's schedules, or those of one instance or cluster.
func ListSchedules(ctx context.Context, c *gophercloud.ServiceClient, instance string) ([]Schedule, error) {
	from := endpoint(c, "schedules")
	if instance != "" {
		from += "?" + url.Values{"instance_id": {instance}}.Encode()
	}
	return all[Schedule](ctx, c, "schedules", from)
}

// GetSchedule reads one schedule.
func GetSchedule(ctx context.Context, c *gophercloud.ServiceClient, id string) (Schedule, error) {
	return get[Schedule](ctx, c, "schedule", "schedules", id)
}

// CreateSchedule makes a schedule of an instance, or a default; fields are those of the API.
func CreateSchedule(ctx context.Context, c *gophercloud.ServiceClient, fields map[string]any) (Schedule, error) {
	members, err := send(ctx, c, http.MethodPost, endpoint(c, "schedules"), map[string]any{"schedule": fields}, http.StatusOK)
	return member[Schedule](members, "schedule", err)
}

// UpdateSchedule changes the fields that are given.
func UpdateSchedule(ctx context.Context, c *gophercloud.ServiceClient, id string, fields map[string]any) (Schedule, error) {
	members, err := send(ctx, c, http.MethodPatch, endpoint(c, "schedules", id), map[string]any{"schedule": fields}, http.StatusOK)
	return member[Schedule](members, "schedule", err)
}

// DeleteSchedule ends a schedule; its backups stay.
func DeleteSchedule(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
	return change(ctx, c, http.MethodDelete, nil, "schedules", id)
}

// RunSchedule has a run begin at once.
func RunSchedule(ctx context.Context, c *gophercloud.ServiceClient, id string) error {
	return change(ctx, c, http.MethodPost, map[string]any{"run": map[string]any{}}, "schedules", id, "action")
}
