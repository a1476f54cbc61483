package server

import "sync/atomic"

// Stats is what a [Server] holds and has done since it was made.
type Stats struct {
	Parked   int   // polls that wait now
	Resting  int   // answered connections whose next request has not begun
	Pending  int   // commands that are not finished, of all agents
	Watched  int64 // the revision up to which the watch has told
	Polls    uint64
	Wakes    uint64 // parked polls that were answered with something
	Expired  uint64 // parked polls whose hold ended
	Replaced uint64 // parked polls that a newer one of the same agent ended
	Lost     uint64 // parked polls whose peer hung up
	Reads    uint64 // calls of Backend.Pending
	Refused  uint64 // calls answered with 401 or 403
	Overload uint64 // calls answered with 429
	Failed   uint64 // calls that failed in the Backend
}

type counters struct {
	polls, wakes, expired, replaced, lost, reads, refused, overload, failed atomic.Uint64
}

// Stats returns the numbers as they are now.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	parked, rest, pending, watched := s.lot.size(), len(s.resting), s.index.size(), s.watched
	s.mu.Unlock()
	c := &s.counters
	return Stats{
		Parked: parked, Resting: rest, Pending: pending, Watched: watched,
		Polls: c.polls.Load(), Wakes: c.wakes.Load(), Expired: c.expired.Load(), Replaced: c.replaced.Load(),
		Lost: c.lost.Load(), Reads: c.reads.Load(), Refused: c.refused.Load(), Overload: c.overload.Load(),
		Failed: c.failed.Load(),
	}
}
