package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

const (
	margin  = 15 * time.Second // how much longer than the hold a poll may take
	maxHold = 10 * time.Minute // a gateway that asks for more has its units wrong
	minHold = time.Second      // and so has one that asks for less

	// Answers that bring nothing and come sooner than this are a fault: a gateway gone wrong, or a second agent with
	// this identity, each ending the other's polls. A few are normal (a drain, a first cursor).
	hasty        = time.Second
	freeOfCharge = 3
	// After so many holds without an answer the transport is thrown away.
	watchdogHolds = 3
)

// errChanged is the cause with which a poll is given up to bring a changed status.
var errChanged = errors.New("the status changed")

// poller is the poll loop. It is used by one goroutine.
type poller struct {
	client *client
	lanes  *lanes
	status *status
	log    *slog.Logger

	cursor   agentpoll.Cursor
	hold     time.Duration
	retry    backoff
	inHaste  backoff
	answered time.Time // when a poll was last answered, or the transport made
}

func (p *poller) run(ctx context.Context) {
	p.answered = time.Now()
	for ctx.Err() == nil {
		begun := time.Now()
		news, err := p.poll(ctx)
		var wait time.Duration
		switch {
		case ctx.Err() != nil, errors.Is(err, errChanged):
		case err != nil:
			wait = p.failed(err, time.Since(begun))
		default:
			wait = p.succeeded(news, time.Since(begun))
		}
		sleep(ctx, wait)
	}
}

// poll makes one poll and acts on the answer. It reports whether the answer brought anything new.
func (p *poller) poll(ctx context.Context) (news bool, err error) {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	ctx, cancel := context.WithTimeout(ctx, p.hold+margin)
	defer cancel()

	sent := p.status.take(func() { giveUp(errChanged) })
	req := agentpoll.PollRequest{Cursor: p.cursor, Status: sent, Running: p.lanes.running()}
	var reply agentpoll.PollReply
	a, err := p.client.call(ctx, "poll", agentpoll.PathPoll, req, &reply)
	if err != nil {
		if errors.Is(context.Cause(ctx), errChanged) {
			return false, errChanged
		}
		return false, err
	}
	if a.status != http.StatusOK {
		if reply, err = p.nothing(a); err != nil {
			return false, err
		}
	}
	if sent != nil {
		p.status.tell(sent)
	}
	return p.take(reply), nil
}

// nothing reads an answer without a body.
func (p *poller) nothing(a answer) (reply agentpoll.PollReply, err error) {
	reply.Cursor = p.cursor
	if c := a.header.Get(agentpoll.HeaderCursor); c != "" {
		if reply.Cursor, err = agentpoll.ParseCursor(c); err != nil {
			return reply, &callError{call: "poll", status: a.status, err: err}
		}
	}
	if h := a.header.Get(agentpoll.HeaderHold); h != "" {
		if reply.Hold, err = strconv.ParseInt(h, 10, 64); err != nil {
			return reply, &callError{call: "poll", status: a.status, err: fmt.Errorf("%s: %w", agentpoll.HeaderHold, err)}
		}
	}
	return reply, nil
}

func (p *poller) take(reply agentpoll.PollReply) (news bool) {
	took := p.lanes.deliver(reply.Commands)
	p.lanes.cancel(reply.Cancelled)
	if went := p.cursor; went != (agentpoll.Cursor{}) && went != reply.Cursor {
		if went.Epoch != reply.Cursor.Epoch || reply.Cursor.Revision < went.Revision {
			p.log.Warn("the gateway's store went back in time; telling it everything again",
				"was", went.String(), "is", reply.Cursor.String())
			p.status.tell(nil)
		}
	}
	p.cursor = reply.Cursor
	if hold := time.Duration(reply.Hold) * time.Millisecond; hold >= minHold && hold <= maxHold {
		p.hold = hold
	}
	return took > 0 || len(reply.Cancelled) > 0
}

func (p *poller) succeeded(news bool, lived time.Duration) (wait time.Duration) {
	if p.retry.failures > 0 {
		p.log.Info("the gateway answers again", "failures", p.retry.failures)
	}
	p.retry.reset()
	p.answered = time.Now()
	if news || lived >= hasty {
		p.inHaste.reset()
		return 0
	}
	wait = p.inHaste.next(nil)
	if p.inHaste.failures <= freeOfCharge {
		return 0
	}
	p.log.Warn("polls are answered at once with nothing: is there a second agent with this identity?", "retry_in", wait)
	return wait
}

func (p *poller) failed(err error, lived time.Duration) (wait time.Duration) {
	if silence := time.Since(p.answered); silence > watchdogHolds*(p.hold+margin) {
		p.log.Warn("no poll was answered for long; connecting anew", "silence", silence)
		p.client.rebuild()
		p.answered = time.Now()
	}
	if cut(err, lived) {
		p.retry.reset()
		wait = jitter(time.Second)
		p.log.Debug("a poll was cut", "lived", lived, "retry_in", wait, "err", err)
		return wait
	}
	wait = p.retry.next(err)
	switch statusOf(err) {
	case http.StatusUnauthorized:
		p.log.Error("the gateway does not know this agent; an operator must enrol it anew", "retry_in", wait, "err", err)
	case http.StatusForbidden:
		p.log.Error("this agent is locked: its identity was used by two machines; an operator unlocks it once the copy is gone",
			"retry_in", wait, "err", err)
	default:
		p.log.Warn("cannot poll", "retry_in", wait, "err", err)
	}
	return wait
}
