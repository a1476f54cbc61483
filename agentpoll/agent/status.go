package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"time"
)

// status is what the agent says of itself, and what of it the gateway has heard.
type status struct {
	ask   func(context.Context) json.RawMessage // nil: there is nothing to say
	every time.Duration
	nudge chan struct{} // asks at once

	mu     sync.Mutex
	now    json.RawMessage
	heard  json.RawMessage // nil: not known
	giveUp func()          // ends the poll under way
}

func newStatus(ask func(context.Context) json.RawMessage, every time.Duration) *status {
	return &status{ask: ask, every: every, nudge: make(chan struct{}, 1), giveUp: func() {}}
}

func (s *status) changed() {
	select {
	case s.nudge <- struct{}{}:
	default:
	}
}

// run asks from time to time. A changed status gives the poll under way up; the next one brings it.
func (s *status) run(ctx context.Context) {
	if s.ask == nil {
		return
	}
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.nudge:
		case <-ctx.Done():
			return
		}
		s.update(ctx)
	}
}

func (s *status) update(ctx context.Context) {
	if s.ask == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.every)
	defer cancel()
	now := s.ask(ctx)
	if now == nil || !json.Valid(now) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !bytes.Equal(now, s.now) {
		s.now = now
		s.giveUp()
	}
}

// take is called before a poll, with what ends it. It returns the status when the gateway may not have heard it. From
// then until tell it is not known what the gateway has heard.
func (s *status) take(giveUp func()) json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveUp = giveUp
	if s.heard != nil && bytes.Equal(s.now, s.heard) {
		return nil
	}
	s.heard = nil
	return s.now
}

// tell notes that the poll that carried sent was answered; nil forgets what the gateway has heard.
func (s *status) tell(sent json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = sent
}
