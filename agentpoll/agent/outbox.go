package agent

import (
	"context"
	"log/slog"
	"net/http"
	"sync"

	"github.com/cofferdb/coffer/agentpoll"
)

const (
	maxResult = agentpoll.MaxBody - 4<<10 // bytes of a result's value
	// A result that the gateway answers with a 5xx this often steps behind the others, so that it cannot block them.
	patience = 10
)

// outbox sends results, one after another, until the gateway has taken each or does not want it.
type outbox struct {
	client  *client
	journal *journal
	log     *slog.Logger
	line    *fifo[*parcel]

	mu sync.Mutex
	// ids of what is in the line or being sent. True: the gateway has delivered the command again since, so the
	// result must be sent once more; the store that took it may be gone.
	ids map[string]bool
}

// parcel is a result on its way.
type parcel struct {
	id        string
	result    agentpoll.Result
	journaled bool
	pos       int64 // in the journal; 0: it was read from there
}

func newOutbox(c *client, j *journal, log *slog.Logger) *outbox {
	return &outbox{client: c, journal: j, log: log, line: newFifo[*parcel](), ids: map[string]bool{}}
}

// add puts a result into the line, unless one of the same command is there.
func (o *outbox) add(p *parcel) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.ids[p.id]; !known {
		o.ids[p.id] = false
		o.line.push(p)
	}
}

// again reports whether a result of the command is on its way, and sees to it that it is sent to the end after now.
func (o *outbox) again(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, known := o.ids[id]
	if known {
		o.ids[id] = true
	}
	return known
}

// run sends until the line is closed and empty, or until ctx ends. Once stopping has ended each result is tried once;
// what fails then is in the journal.
func (o *outbox) run(ctx, stopping context.Context) {
	for {
		p, ok := o.line.next(ctx)
		if !ok {
			return
		}
		if p.journaled {
			if err := o.journal.sync(p.pos); err != nil {
				o.log.Error("a result is sent that a crash would lose", "command_id", p.id, "err", err)
			}
		}
		if o.deliver(ctx, stopping, p) {
			o.delivered(p)
		} else if stopping.Err() == nil {
			o.line.push(p)
		}
	}
}

// deliver sends one result until the gateway has answered it. False when it shall be tried again later.
func (o *outbox) deliver(ctx, stopping context.Context, p *parcel) bool {
	retry := backoff{}
	for refusals := 0; refusals < patience; {
		err := o.send(ctx, p)
		if err == nil || statusOf(err) == http.StatusGone {
			return true
		}
		if stopping.Err() != nil {
			return false
		}
		if judge(err) == never {
			if p.result.Error != nil {
				o.log.Error("the gateway refuses a result; it is dropped", "command_id", p.id, "err", err)
				return true
			}
			p.result = agentpoll.Result{Error: agentpoll.Errorf(agentpoll.Internal,
				"the command has run, but the gateway refuses its result with %d", statusOf(err))}
			continue
		}
		wait := retry.next(err)
		o.log.Warn("cannot send a result yet", "command_id", p.id, "retry_in", wait, "err", err)
		if statusOf(err) >= 500 {
			refusals++
		}
		sleep(stopping, wait)
	}
	return false
}

func (o *outbox) send(ctx context.Context, p *parcel) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := o.client.call(ctx, "result", commandPath(agentpoll.PathResult, p.id), p.result, nil)
	return err
}

func (o *outbox) delivered(p *parcel) {
	if p.journaled {
		if err := o.journal.sent(p.id); err != nil {
			o.log.Warn("a result will be sent again after a restart", "command_id", p.id, "err", err)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ids[p.id] {
		o.ids[p.id] = false
		o.line.push(p)
		return
	}
	delete(o.ids, p.id)
}
