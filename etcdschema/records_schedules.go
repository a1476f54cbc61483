package etcdschema

import "time"

// Schedule has an instance backed up at times, or has it tried whether its backups can be restored. One without an instance is its project's default: whatever instance there is when it is due
// gets a schedule of its own that is made from it.
type Schedule struct {
	ID       string `json:"id"`
	Project  string `json:"project"`
	Instance string `json:"instance,omitempty"` // "": a default
	// Whole: it is of the whole set that Instance is in, whoever is the source, and stays with the set when that member leaves. An instance
	// alone is a set of one. Cluster is the set's id when that is a cluster; "": it is none.
	Whole   bool   `json:"whole,omitempty"`
	Cluster string `json:"cluster,omitempty"`
	From    string `json:"from,omitempty"` // id of the default that it is made from; "": somebody made it
	Name    string `json:"name"`
	Kind    string `json:"kind"` // one of ScheduleFull and its fellows
	When    When   `json:"when"`
	// WindowMinutes is how long a run waits for an instance that is busy, until it is skipped.
	WindowMinutes int `json:"window_minutes"`
	// FullEvery is how many backups of an incremental schedule build on each other, the full one with them.
	FullEvery int `json:"full_every,omitempty"`
	// Keep is how many of its backups stay, the newest; 0: all. KeepDays is how old they may become; 0: any age.
	Keep     int `json:"keep,omitempty"`
	KeepDays int `json:"keep_days,omitempty"`
	// Latest has a drill go as far as the log was shipped, instead of to the newest backup. Question is what it asks then: a
	// datastores.Question, sealed with the gateways' key; empty: nothing.
	Latest   bool      `json:"latest,omitempty"`
	Question []byte    `json:"question,omitempty"`
	Disabled bool      `json:"disabled,omitempty"`
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`

	Next time.Time `json:"next,omitzero"` // time of the next run; zero: there is none
	// Waiting is since when a run waits for its instance; zero: none does.
	Waiting time.Time `json:"waiting,omitzero"`
	// Making is the backup that is being made for a run, or the drill that is under way; "": none is.
	Making string       `json:"making,omitempty"`
	Last   *ScheduleRun `json:"last,omitempty"` // nil: there was none yet
	// Due is the time of its key in the due index, see [Instance.Due].
	Due time.Time `json:"due,omitzero"`
}

// What a schedule makes.
const (
	ScheduleFull        = "full"
	ScheduleIncremental = "incremental"
	ScheduleDrill       = "drill" // it tries whether what is kept can be restored
)

// When says at which times: by Cron, or each EveryHours from when the schedule was made.
type When struct {
	Cron       string `json:"cron,omitempty"`     // minute, hour, day, month, weekday
	Zone       string `json:"timezone,omitempty"` // of Cron, as IANA names it; "": UTC
	EveryHours int    `json:"every_hours,omitempty"`
}

// ScheduleRun is one run of a schedule.
type ScheduleRun struct {
	Planned time.Time `json:"planned"`
	At      time.Time `json:"at"`               // when it began, or was skipped
	Result  string    `json:"result,omitempty"` // RunMade, RunFailed, RunSkipped; "": it goes on
	Reason  string    `json:"reason,omitempty"` // why it failed or was skipped
	Backup  string    `json:"backup,omitempty"` // that was made, or restored
	// Instance is the member that has made it for its set; "": it is the schedule's, or its cluster has chosen.
	Instance string    `json:"instance,omitempty"`
	Drill    string    `json:"drill,omitempty"`
	Ended    time.Time `json:"ended,omitzero"`
}

// How a run of a schedule has ended.
const (
	RunMade    = "completed"
	RunFailed  = "failed"
	RunSkipped = "skipped"
)
