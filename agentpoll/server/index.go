package server

import (
	"cmp"
	"slices"
	"time"
)

// index is what is pending, as far as the watch has told. It is pure data; [Server.mu] guards it.
type index struct {
	pending map[string][]entry // by agent, in order of revision
	quiet   quiet
}

type entry struct {
	id       string
	revision int64
}

func newIndex() index {
	return index{pending: map[string][]entry{}, quiet: quiet{until: map[string]time.Time{}}}
}

// put records a pending command.
func (x *index) put(agentID, id string, revision int64) {
	entries := slices.DeleteFunc(x.pending[agentID], func(e entry) bool { return e.id == id })
	at, _ := slices.BinarySearchFunc(entries, revision+1, func(e entry, r int64) int { return cmp.Compare(e.revision, r) })
	x.pending[agentID] = slices.Insert(entries, at, entry{id, revision})
}

// remove records that a command is gone.
func (x *index) remove(agentID, id string) {
	entries := slices.DeleteFunc(x.pending[agentID], func(e entry) bool { return e.id == id })
	if len(entries) == 0 {
		delete(x.pending, agentID)
		return
	}
	x.pending[agentID] = entries
}

// newer reports whether anything that was enqueued after a revision is pending for the agent.
func (x *index) newer(agentID string, after int64) bool {
	entries := x.pending[agentID]
	return len(entries) > 0 && entries[len(entries)-1].revision > after
}

// gone returns those ids that are not pending for the agent and of which it should be told.
func (x *index) gone(agentID string, ids []string, now time.Time) []string {
	var gone []string
	for _, id := range ids {
		pending := slices.ContainsFunc(x.pending[agentID], func(e entry) bool { return e.id == id })
		if !pending && !x.quiet.has(id, now) {
			gone = append(gone, id)
		}
	}
	return gone
}

// size is the number of pending commands.
func (x *index) size() int {
	n := 0
	for _, entries := range x.pending {
		n += len(entries)
	}
	return n
}

// quietMax is how many ids are kept quiet about at most. What is evicted is told once more than needed.
const quietMax = 8192

// quiet holds commands that are gone but need not be told as cancelled for a while: their result was committed, so the
// agent knows; or the agent was just told, and a poll at once for as long as it takes to stop would be a busy loop.
type quiet struct {
	until map[string]time.Time
	order []string // a ring, the oldest at next once it is full
	next  int
}

func (q *quiet) has(id string, now time.Time) bool { return now.Before(q.until[id]) }

func (q *quiet) add(id string, until time.Time) {
	if _, known := q.until[id]; !known {
		if len(q.order) < quietMax {
			q.order = append(q.order, id)
		} else {
			delete(q.until, q.order[q.next])
			q.order[q.next] = id
			q.next = (q.next + 1) % quietMax
		}
	}
	q.until[id] = until
}
