package sandbox

import "time"

// Restarts says when a guest that has ended may be started again: the more often in a row, the later. The zero value
// allows it at once.
type Restarts struct {
	inARow int
	last   time.Time
}

const (
	firstRestart = time.Second
	lastRestart  = time.Minute
	settledAfter = 2 * time.Minute // a guest that lived so long starts the count again
)

// Started counts a start.
func (r *Restarts) Started(now time.Time) {
	if now.Sub(r.last) > settledAfter {
		r.inARow = 0
	}
	r.inARow, r.last = r.inARow+1, now
}

// Due is when the next start is allowed.
func (r *Restarts) Due() time.Time {
	if r.inARow == 0 {
		return time.Time{}
	}
	const doublings = 6 // 64 s, beyond the last
	return r.last.Add(min(firstRestart<<min(r.inARow-1, doublings), lastRestart))
}
