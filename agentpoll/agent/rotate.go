package agent

import (
	"context"
	"errors"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// ErrNotRunning is returned by what needs [Agent.Run] to be under way, with the agent enrolled.
var ErrNotRunning = errors.New("the agent is not running, or not enrolled yet")

// Rotate replaces the agent's credential. The new secret is on disk before the gateway hears of it, and the old one
// stays until the gateway is known to have the new one, so a crash or a lost answer at any point leaves a credential
// that works. It returns nil too when an earlier rotation's fate is still being found out.
func (a *Agent) Rotate(ctx context.Context) error {
	a.mu.Lock()
	s := a.session
	a.mu.Unlock()
	if s == nil {
		return ErrNotRunning
	}
	s.rotating.Lock()
	defer s.rotating.Unlock()
	req, due, err := s.identity.next()
	if err != nil || !due {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var reply agentpoll.RotateReply
	answer, err := s.client.call(ctx, "rotate", agentpoll.PathRotate, req, &reply)
	if err == nil {
		a.log.Info("rotated the credential", "sequence", reply.Sequence)
		if err := s.identity.rotated(reply, answer.secure); err != nil {
			return err
		}
		s.client.trust()
		return nil
	}
	if judge(err) == again {
		s.identity.try()
	}
	return err
}

// rotate keeps the credential young. Agents that were enrolled together do not rotate together.
func (a *Agent) rotate(ctx context.Context, id *identity) {
	if a.cfg.RotateEvery < 0 {
		return
	}
	var retry backoff
	for {
		due := id.record().Since.Add(a.cfg.RotateEvery)
		sleep(ctx, max(time.Until(due)-jitter(a.cfg.RotateEvery/4), time.Minute))
		if ctx.Err() != nil {
			return
		}
		err := a.Rotate(ctx)
		if err == nil {
			retry.reset()
			continue
		}
		wait := retry.next(err)
		a.log.Warn("cannot rotate the credential yet", "retry_in", wait, "err", err)
		sleep(ctx, wait)
	}
}
