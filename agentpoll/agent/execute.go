package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// execute runs a job. False when the agent stops and the command was cut: it is run again after the next start.
func (l *lanes) execute(j *job) (agentpoll.Result, bool) {
	cmd, refusal := l.prepare(j)
	if refusal != nil {
		return agentpoll.Result{Error: refusal}, true
	}
	ctx, cancel := j.ctx, context.CancelFunc(func() {})
	if !j.Deadline.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, j.Deadline)
	}
	defer cancel()

	log := l.log.With("command_id", j.ID, "method", j.Method)
	log.Info("started", "repeated", cmd.Repeated)
	reports := newReports(ctx, l.client, j.ID, log)
	cmd.Progress = reports.put
	value, err := protect(log, func() ([]byte, error) { return l.call(ctx, cmd) })
	reports.stop()

	cancelled := errors.Is(context.Cause(j.ctx), errCancelled)
	switch {
	case err == nil && len(value) > maxResult:
		err = fmt.Errorf("the command has run, but its result of %d bytes is longer than %d", len(value), maxResult)
	case err == nil && !validValue(value):
		err = errors.New("the command has run, but its result is not JSON")
	case err == nil:
		log.Info("finished")
		return agentpoll.Result{Value: value}, true
	case cancelled:
		log.Info("cancelled")
		return agentpoll.Result{Error: errCancelled}, true
	case j.lane.work.Err() != nil:
		log.Info("cut by the agent's end; it will be run again")
		return agentpoll.Result{}, false
	}
	failed := failure(err)
	if failed.Kind == agentpoll.Internal && endsWithin(j.lane.take, alsoTold) {
		log.Info("failed while the agent is told to end; it will be run again", "err", failed.Message, "detail", failed.Detail)
		return agentpoll.Result{}, false
	}
	log.Warn("failed", "kind", failed.Kind, "err", failed.Message, "detail", failed.Detail)
	return agentpoll.Result{Error: failed}, true
}

// call runs the agent's own method, or one of its handler.
func (l *lanes) call(ctx context.Context, cmd Command) ([]byte, error) {
	if cmd.Method == agentpoll.MethodAudit {
		return l.journal.audit(cmd.Args)
	}
	return l.handler.Run(ctx, cmd)
}

// alsoTold is how much later the agent may hear that it is to end than the programs that it runs. When a machine or a sandbox is
// stopped all are told at once, and a program may have ended before the agent knows why: the command has not failed by itself.
const alsoTold = 250 * time.Millisecond

// endsWithin reports whether a context ends before d is over.
func endsWithin(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return true
	case <-time.After(d):
		return false
	}
}

// prepare makes a job ready to run, or says why it is not run.
func (l *lanes) prepare(j *job) (Command, *agentpoll.Error) {
	if !j.known {
		return Command{}, agentpoll.Errorf(agentpoll.Unsupported, "this agent has no method %q", j.Method)
	}
	now := time.Now()
	if !j.Deadline.IsZero() && !now.Before(j.Deadline) {
		return Command{}, agentpoll.Errorf(agentpoll.Expired, "%s was not started: its deadline had passed %s before",
			j.Method, now.Sub(j.Deadline).Round(time.Millisecond))
	}
	if errors.Is(context.Cause(j.ctx), errCancelled) {
		return Command{}, errCancelled
	}
	cmd := Command{
		ID: j.ID, Method: j.Method, Args: j.Args, Deadline: j.Deadline, NotBefore: j.NotBefore,
		Accepted: now, Traceparent: j.Traceparent,
	}
	if len(j.Sealed) > 0 {
		args, err := agentpoll.Open(l.client.identity.key, j.ID, j.Sealed)
		if err != nil {
			return Command{}, failure(err)
		}
		cmd.Args = args
	}
	if !j.traits.Reads {
		var err error
		if cmd.Accepted, cmd.Repeated, err = l.journal.accept(j.ID, j.Method); err != nil {
			return Command{}, failure(fmt.Errorf("%s was not started: %w", j.Method, err))
		}
	}
	return cmd, nil
}

// protect makes an error of a panic.
func protect(log *slog.Logger, run func() ([]byte, error)) (value []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("panic", "value", fmt.Sprint(p), "stack", string(debug.Stack()))
			value, err = nil, errors.New("the agent's code failed; its log says where")
		}
	}()
	return run()
}

// failure makes of a handler's error what travels, within bounds. An *agentpoll.Error in it gives kind and detail.
func failure(err error) *agentpoll.Error {
	f := &agentpoll.Error{Kind: agentpoll.Internal, Message: bounded(err.Error())}
	if e, ok := errors.AsType[*agentpoll.Error](err); ok {
		f.Kind, f.Detail = e.Kind, bounded(e.Detail)
	}
	return f
}

func bounded(text string) string {
	if len(text) > maxMessage {
		return text[:maxMessage] + fmt.Sprintf("… (%d bytes)", len(text))
	}
	return text
}

const maxMessage = 4 << 10

// validValue reports whether a handler's value can travel.
func validValue(value []byte) bool { return len(value) == 0 || json.Valid(value) }
