package etcdschema

import (
	"time"

	"github.com/cofferdb/coffer/datastores"
)

// Drills are the trials of restoring what is kept of one instance. They go with it.
type Drills struct {
	Project  string `json:"project"`
	Instance string `json:"instance"`
	// Now is the drill under way; nil: none is.
	Now *Drill `json:"now,omitempty"`
	// Question is that of the drill under way: a datastores.Question, sealed with the gateways' key. Empty: nothing is asked.
	Question []byte `json:"question,omitempty"`
	// Past are those that are over, the newest first, as many as are kept.
	Past []Drill `json:"past,omitempty"`
	// Due is the time of its key in the due index, see [Instance.Due].
	Due time.Time `json:"due,omitzero"`
}

// Drill is one trial, and when it is over the evidence of it.
type Drill struct {
	ID       string `json:"id"`
	Schedule string `json:"schedule,omitempty"` // that asked for it; "": somebody did
	By       string `json:"by,omitempty"`       // who asked
	// Backup is what was restored, with what it needs, and Made when that was complete.
	Backup string    `json:"backup"`
	Made   time.Time `json:"made"`
	Bytes  int64     `json:"bytes,omitempty"` // of the backup in the store
	// Point is up to where the shipped log was replayed; zero: it was not.
	Point time.Time `json:"point,omitzero"`

	Probe string    `json:"probe"` // the instance that was made of it
	Step  string    `json:"step,omitempty"`
	Begun time.Time `json:"begun"`
	// Restored is when the probe was ready, Checked when it was looked at, Ended when it was gone.
	Restored time.Time `json:"restored,omitzero"`
	Checked  time.Time `json:"checked,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	Command  string    `json:"command,omitempty"` // the one that looks at the probe
	Tries    int       `json:"tries,omitempty"`   // how many such commands there were

	Result string                  `json:"result,omitempty"` // DrillPassed or DrillFailed; "": it is not known yet
	Reason string                  `json:"reason,omitempty"` // why it failed
	Used   int64                   `json:"used,omitempty"`   // bytes of the probe's volume
	Report *datastores.CheckReport `json:"report,omitempty"` // nil: the probe was not looked at
}

// The steps of a drill.
const (
	DrillRestores = "restore"
	DrillChecks   = "check"
	DrillRemoves  = "remove"
)

// How a drill has ended.
const (
	DrillPassed = "passed"
	DrillFailed = "failed"
)

// Restoring is how long it took until what was kept was a running server; 0: it never was.
func (d Drill) Restoring() time.Duration {
	if d.Restored.IsZero() {
		return 0
	}
	return d.Restored.Sub(d.Begun)
}
