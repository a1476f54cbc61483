package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

const (
	negativeFor = 5 * time.Second // how long a refused credential is refused without asking
	negativeMax = 4096            // how many of them are remembered
	askingMax   = 32              // how many credentials are asked about at once
	failureRate = 10              // unknown credentials a second that one caller may show, after a burst of ten times that
)

// credentials remembers who proved what, so that neither a fleet that re-polls nor a storm of bad credentials reaches
// the Backend.
type credentials struct {
	backend  Backend
	asking   chan struct{}
	failures *limiter

	mu         sync.Mutex
	good       map[string]string // agent -> hash of its credential
	bad        map[string]refused
	generation int // counts what was forgotten: an answer that was asked for before is not remembered after it
}

type refused struct {
	hash  string
	err   error
	until time.Time
}

func newCredentials(b Backend) *credentials {
	return &credentials{
		backend:  b,
		asking:   make(chan struct{}, askingMax),
		failures: newLimiter(failureRate, 10*failureRate),
		good:     map[string]string{},
		bad:      map[string]refused{},
	}
}

// check returns nil, ErrUnauthorized, ErrLocked, errOverload for a caller that showed too many bad credentials, or an
// error of the Backend.
func (k *credentials) check(ctx context.Context, c agentpoll.Credential, caller string) error {
	hash := c.Hash()
	known, err, generation := k.recall(c, hash)
	if known {
		return err
	}
	if k.failures.empty(caller) {
		return errOverload
	}
	select {
	case k.asking <- struct{}{}:
		defer func() { <-k.asking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	err = k.backend.Authenticate(ctx, c)
	if errors.Is(err, ErrUnauthorized) {
		k.failures.take(caller)
	}
	k.remember(c.AgentID, hash, err, generation)
	return err
}

func (k *credentials) recall(c agentpoll.Credential, hash string) (known bool, err error, generation int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if good, ok := k.good[c.AgentID]; ok && c.Matches(good) {
		return true, nil, 0
	}
	if bad, ok := k.bad[c.AgentID]; ok && bad.hash == hash && time.Now().Before(bad.until) {
		return true, bad.err, 0
	}
	return false, nil, k.generation
}

func (k *credentials) remember(agentID, hash string, err error, generation int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case generation != k.generation:
	case err == nil:
		k.good[agentID] = hash
	case errors.Is(err, ErrUnauthorized), errors.Is(err, ErrLocked):
		if len(k.bad) >= negativeMax {
			clear(k.bad) // a storm: begin anew
		}
		k.bad[agentID] = refused{hash, err, time.Now().Add(negativeFor)}
	}
}

// forget drops what is known of these agents.
func (k *credentials) forget(agents []string) {
	if len(agents) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.generation++
	for _, id := range agents {
		delete(k.good, id)
		delete(k.bad, id)
	}
}

// forgetAll drops everything: a watch began anew, and may have missed a change.
func (k *credentials) forgetAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.generation++
	clear(k.good)
	clear(k.bad)
}
