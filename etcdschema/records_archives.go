package etcdschema

import "time"

// Archive is what was shipped of an instance's log. It outlives the instance, as backups do: with one of those, and the log since, a new
// instance is made as this one was at any moment of a window.
type Archive struct {
	Project  string `json:"project"`
	Instance string `json:"instance"`
	// RPO is how far the shipped log may be behind, in seconds; 0: nothing is shipped any more.
	RPO int `json:"rpo,omitempty"`
	// Windows are the oldest first. While something is shipped, it belongs to the last one.
	Windows []LogWindow `json:"windows,omitempty"`
	// Asked is when the guest was last asked to ship, or to end it.
	Asked time.Time `json:"asked,omitzero"`
	// Base is the backup that is being made for the last window, because it has none; "": none is. Tries is how many have failed.
	Base  string `json:"base,omitempty"`
	Tries int    `json:"tries,omitempty"`
	// Due is the time of its key in the due index, see [Instance.Due].
	Due time.Time `json:"due,omitzero"`
}

// LogWindow is a log without a gap. Its segments are numbered from 1; the record says how many there are, and nothing of each.
type LogWindow struct {
	ID    string `json:"id"`
	First int64  `json:"first"` // segment that is still there
	Last  int64  `json:"last,omitempty"`
	// Bytes is what all its segments have had, Freed what those before First had, Held what its project is charged for.
	Bytes int64 `json:"bytes,omitempty"`
	Freed int64 `json:"freed,omitempty"`
	Held  int64 `json:"held,omitempty"`
	// From and Start are when and where it begins, Until and Position up to when and where it has come, by the server's clock and in the
	// engine's words. From is zero until its guest has begun it.
	From     time.Time `json:"from,omitzero"`
	Start    string    `json:"start,omitempty"`
	Until    time.Time `json:"until,omitzero"`
	Position string    `json:"position,omitempty"`
	// Told is when its last segment was told of, and Behind how far the log in the store had been behind until then, by the server's clock:
	// what was written in that time would have been lost. Stuck is since when nothing can be shipped; zero: it is.
	Told   time.Time     `json:"told,omitzero"`
	Behind time.Duration `json:"behind,omitempty"`
	Stuck  time.Time     `json:"stuck,omitzero"`
	// Closed is why nothing is added any more; "": the log goes on.
	Closed string `json:"closed,omitempty"`
}

// Open is the window to which is added; nil: there is none.
func (a *Archive) Open() *LogWindow {
	if n := len(a.Windows); n > 0 && a.RPO > 0 && a.Windows[n-1].Closed == "" {
		return &a.Windows[n-1]
	}
	return nil
}

// Window finds one by its id; nil: there is none.
func (a *Archive) Window(id string) *LogWindow {
	for i := range a.Windows {
		if a.Windows[i].ID == id {
			return &a.Windows[i]
		}
	}
	return nil
}

// LogMark is where in the log of its instance a backup was made.
type LogMark struct {
	Window string `json:"window"`
	// After and Bytes are the last segment that there was when it was asked for, and the bytes of that and those before: it needs none of
	// them.
	After int64 `json:"after"`
	Bytes int64 `json:"bytes,omitempty"`
	// At is when it was complete, by the server's clock; zero: it is not.
	At time.Time `json:"at,omitzero"`
}

// Replay is the log that a new instance begins with, after its backups, and up to where: to a time or a position.
type Replay struct {
	Window   string    `json:"window"`
	Instance string    `json:"instance"` // whose log it is
	First    int64     `json:"first"`    // of the segments
	Last     int64     `json:"last"`
	Time     time.Time `json:"time,omitzero"`
	Position string    `json:"position,omitempty"`
}
