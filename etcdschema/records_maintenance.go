package etcdschema

import "time"

// Maintenance is when an operator may interrupt an instance, its set or a cluster, and what waits for that. Subject is whose it is: a cluster's
// id, of a replication set the source's, else the instance's; or it is a project's default, which has a window alone.
type Maintenance struct {
	Project string             `json:"project"`
	Subject string             `json:"subject"`
	Window  *MaintenanceWindow `json:"window,omitempty"` // nil: the project's default
	Pending *Maintain          `json:"pending,omitempty"`
	Last    *Maintained        `json:"last,omitempty"` // nil: nothing has begun yet
	// Due is the time of its key in the due index, see [Instance.Due].
	Due time.Time `json:"due,omitzero"`
}

// MaintenanceWindow is some hours on days of each week, by the clock on a wall.
type MaintenanceWindow struct {
	Days    []string `json:"days"`               // mon, tue, wed, thu, fri, sat, sun
	Start   string   `json:"start"`              // 02:30
	Minutes int      `json:"duration_minutes"`   // of real time, also when the clock is changed meanwhile
	Zone    string   `json:"timezone,omitempty"` // as IANA names it; "": UTC
}

// Maintain is what an operator has asked for.
type Maintain struct {
	ID       string    `json:"id"`
	Kind     string    `json:"kind"` // MaintainUpgrade, MaintainRestart
	Instance string    `json:"instance"`
	Version  string    `json:"version,omitempty"` // of an upgrade
	By       string    `json:"by,omitempty"`
	Request  string    `json:"request,omitempty"`
	Asked    time.Time `json:"asked"`
	Reason   string    `json:"reason,omitempty"` // why it could not begin when that was tried last; "": it was not
}

// What an operator can ask for.
const (
	MaintainUpgrade = "upgrade"
	MaintainRestart = "restart"
)

// Maintained is what has begun last.
type Maintained struct {
	Kind    string    `json:"kind"`
	Version string    `json:"version,omitempty"`
	Began   time.Time `json:"began"`
}
