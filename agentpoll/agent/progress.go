package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

const progressEvery = time.Second

// reports sends the progress of one command. What cannot be sent is dropped: the next report or the result says more.
type reports struct {
	ctx    context.Context
	cancel context.CancelFunc
	client *client
	id     string
	log    *slog.Logger
	latest chan agentpoll.Progress // holds one; a newer one replaces it
	begin  sync.Once
	done   sync.WaitGroup
}

func newReports(ctx context.Context, c *client, id string, log *slog.Logger) *reports {
	ctx, cancel := context.WithCancel(ctx)
	return &reports{ctx: ctx, cancel: cancel, client: c, id: id, log: log, latest: make(chan agentpoll.Progress, 1)}
}

// put is what a handler calls.
func (r *reports) put(p agentpoll.Progress) {
	r.begin.Do(func() { r.done.Go(r.run) })
	for {
		select {
		case r.latest <- p:
			return
		default:
		}
		select {
		case <-r.latest:
		default:
		}
	}
}

func (r *reports) run() {
	for {
		select {
		case p := <-r.latest:
			r.send(p)
			sleep(r.ctx, progressEvery)
		case <-r.ctx.Done():
			return
		}
	}
}

func (r *reports) send(p agentpoll.Progress) {
	ctx, cancel := context.WithTimeout(r.ctx, callTimeout)
	defer cancel()
	_, err := r.client.call(ctx, "progress", commandPath(agentpoll.PathProgress, r.id), p, nil)
	if err != nil && r.ctx.Err() == nil {
		r.log.Debug("cannot send progress", "err", err)
	}
}

// stop drops what was not sent, so that no progress follows the result.
func (r *reports) stop() {
	r.cancel()
	r.done.Wait()
}
