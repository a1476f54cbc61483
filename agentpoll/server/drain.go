package server

import (
	"context"
	"fmt"
	"time"
)

// drainStep is the time between two batches of answers of a drain.
const drainStep = 50 * time.Millisecond

// Drain makes the gateway's agents go to another one: new polls are refused with 503 and Retry-After, parked ones are
// answered 204 and their connections closed, spread over Config.DrainWindow so that they do not come to the others at
// once. Calls other than polls are still served. No agent is told absent any more. When ctx ends before, Drain returns
// an error and leaves the rest to [Server.Close].
func (s *Server) Drain(ctx context.Context) error {
	s.presence.stop()
	s.mu.Lock()
	s.draining = true
	parked := s.lot.size()
	s.mu.Unlock()
	steps := max(1, int(s.config.DrainWindow/drainStep))
	batch := (parked + steps - 1) / steps
	for {
		s.mu.Lock()
		answers := s.nothing(s.lot.takeUntil(forever, batch))
		left := s.lot.size()
		s.mu.Unlock()
		s.deliver(answers)
		if left == 0 {
			s.crew.wait()
			return nil
		}
		if sleep(ctx, drainStep) != nil {
			return fmt.Errorf("drain: %d polls are still parked: %w", left, context.Cause(ctx))
		}
	}
}
