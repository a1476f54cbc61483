package server

import (
	"container/heap"
	"time"
)

// poll is one poll that waits for something to be told.
type poll struct {
	agentID string
	told    int64    // everything up to this revision has been told
	running []string // what the agent holds unfinished
	until   time.Time
	seat    seat
	token   uint64 // the lot's name for it, 0 when it is not parked
	place   int    // in the heap
}

// seat is where a parked poll waits for its answer.
type seat interface {
	// deliver hands the answer over without waiting for the peer. It is called at most once.
	deliver(answer)
	// dismiss gives the poll up without an answer, for its peer is lost. It is called instead of deliver.
	dismiss()
}

// lot holds the parked polls, one for an agent. It is pure data; [Server.mu] guards it. Whoever takes a poll out of it
// owns the poll, and must deliver or dismiss it.
type lot struct {
	byAgent map[string]*poll
	byToken map[uint64]*poll
	byTime  timeHeap
	last    uint64 // token
}

func newLot() lot {
	return lot{byAgent: map[string]*poll{}, byToken: map[uint64]*poll{}}
}

// add parks a poll. The agent must have none here.
func (l *lot) add(p *poll) {
	p.token = l.token()
	l.byAgent[p.agentID] = p
	l.byToken[p.token] = p
	heap.Push(&l.byTime, p)
}

// token is a new name, of a poll or of a resting connection.
func (l *lot) token() uint64 {
	l.last++
	return l.last
}

// take removes a poll and reports whether it was still parked.
func (l *lot) take(p *poll) bool {
	if p == nil || p.token == 0 {
		return false
	}
	delete(l.byAgent, p.agentID)
	delete(l.byToken, p.token)
	heap.Remove(&l.byTime, p.place)
	p.token = 0
	return true
}

// takeUntil removes the polls that are held no longer than t, at most max of them.
func (l *lot) takeUntil(t time.Time, max int) []*poll {
	var taken []*poll
	for len(l.byTime) > 0 && len(taken) < max && !l.byTime[0].until.After(t) {
		p := l.byTime[0]
		l.take(p)
		taken = append(taken, p)
	}
	return taken
}

// next is when the first poll's hold ends.
func (l *lot) next() (time.Time, bool) {
	if len(l.byTime) == 0 {
		return time.Time{}, false
	}
	return l.byTime[0].until, true
}

func (l *lot) size() int { return len(l.byAgent) }

// timeHeap is a container/heap of polls, the one whose hold ends first at the top.
type timeHeap []*poll

func (h timeHeap) Len() int           { return len(h) }
func (h timeHeap) Less(i, j int) bool { return h[i].until.Before(h[j].until) }

func (h timeHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *timeHeap) Push(x any) {
	p := x.(*poll)
	p.place = len(*h)
	*h = append(*h, p)
}

func (h *timeHeap) Pop() any {
	old := *h
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return p
}
