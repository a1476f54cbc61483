package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/rate"
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
	failures *rate.Limiter

	mu    sync.Mutex
	good  map[string]string // agent -> hash of its credential
	bad   map[string]refused
	asked map[string]int  // agents that the Backend is being asked about, and how often at once
	stale map[string]bool // those of them that changed meanwhile: the answer is not remembered
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
		failures: rate.New(failureRate, 10*failureRate),
		good:     map[string]string{},
		bad:      map[string]refused{},
		asked:    map[string]int{},
		stale:    map[string]bool{},
	}
}

// check returns nil, ErrUnauthorized, ErrLocked, errOverload for a caller that showed too many bad credentials, or an
// error of the Backend.
func (k *credentials) check(ctx context.Context, c agentpoll.Credential, caller string) error {
	hash := c.Hash()
	if known, err := k.recall(c, hash); known {
		return err
	}
	if k.failures.Left(caller) < 1 {
		return overLimit("unknown_credentials", time.Second)
	}
	select {
	case k.asking <- struct{}{}:
		defer func() { <-k.asking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	k.ask(c.AgentID)
	err := k.backend.Authenticate(ctx, c)
	if errors.Is(err, ErrUnauthorized) {
		k.failures.Take(caller, 1)
	}
	k.remember(c.AgentID, hash, err)
	return err
}

func (k *credentials) recall(c agentpoll.Credential, hash string) (known bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if good, ok := k.good[c.AgentID]; ok && c.Matches(good) {
		return true, nil
	}
	if bad, ok := k.bad[c.AgentID]; ok && bad.hash == hash && time.Now().Before(bad.until) {
		return true, bad.err
	}
	return false, nil
}

func (k *credentials) ask(agentID string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked[agentID]++
}

func (k *credentials) remember(agentID, hash string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	stale := k.stale[agentID]
	if k.asked[agentID]--; k.asked[agentID] == 0 {
		delete(k.asked, agentID)
		delete(k.stale, agentID)
	}
	switch {
	case stale:
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
	for _, id := range agents {
		delete(k.good, id)
		delete(k.bad, id)
		if k.asked[id] > 0 {
			k.stale[id] = true
		}
	}
}

// forgetAll drops everything: a watch began anew, and may have missed a change.
func (k *credentials) forgetAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.good)
	clear(k.bad)
	for id := range k.asked {
		k.stale[id] = true
	}
}
