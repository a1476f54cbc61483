package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// Agent polls gateways for commands and runs them.
type Agent struct {
	cfg    Config
	log    *slog.Logger
	status *status

	mu      sync.Mutex
	session *session // nil while nothing runs or the agent is not enrolled
	options json.RawMessage
}

// session is one Run of an enrolled agent.
type session struct {
	identity *identity
	client   *client
	rotating sync.Mutex
}

// New makes an agent. It touches neither disk nor network; the error lists everything that is wrong with cfg.
func New(cfg Config) (*Agent, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("cannot make an agent: %w", err)
	}
	cfg = cfg.withDefaults()
	return &Agent{cfg: cfg, log: cfg.Log, status: newStatus(cfg.Status, cfg.StatusEvery)}, nil
}

// Options returns the effective options that the gateway gave at enrolment; nil before Run has enrolled the agent or
// read its identity.
func (a *Agent) Options() json.RawMessage {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.options
}

// StatusChanged asks [Config.Status] now instead of at the next turn. It does not block.
func (a *Agent) StatusChanged() { a.status.changed() }

// Run enrols the agent when it is not enrolled, and polls until ctx ends: then it returns nil, at most Grace later. It
// returns an error when the agent cannot work at all: its directory is in use or damaged, it has neither identity nor
// token, or OnEnrolled failed. Whatever a gateway answers never ends it.
func (a *Agent) Run(ctx context.Context) (err error) {
	lock, err := lockDir(a.cfg.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	id, err := openIdentity(a.cfg)
	if err != nil {
		return err
	}
	journal, err := openJournal(a.cfg.Dir, a.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.close()) }()
	s := &session{identity: id, client: newClient(a.cfg, id)}
	defer s.client.close()

	switch err := a.enrol(ctx, id, s.client); {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	rec := id.record()
	a.begin(s, rec.Options)
	defer a.begin(nil, rec.Options)
	if a.cfg.OnEnrolled != nil {
		if err := a.cfg.OnEnrolled(agentpoll.EnrollReply{AgentID: rec.AgentID, Options: rec.Options}); err != nil {
			return fmt.Errorf("cannot use what the gateway said at enrolment: %w", err)
		}
	}
	a.work(ctx, s, journal)
	return nil
}

func (a *Agent) begin(s *session, options json.RawMessage) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.session, a.options = s, options
}

// work runs everything that goes on at the same time, and waits for it.
func (a *Agent) work(ctx context.Context, s *session, journal *journal) {
	grace, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(a.cfg.Grace, cut) })()

	outbox := newOutbox(s.client, journal, a.log)
	for _, id := range journal.unsent() {
		result, _ := journal.finished(id)
		outbox.add(&parcel{id: id, result: result, journaled: true})
	}
	lanes := newLanes(ctx, grace, a.cfg.Handler, s.client, journal, outbox, a.log)
	poller := &poller{client: s.client, lanes: lanes, status: a.status, log: a.log, hold: a.cfg.Hold}

	var sending, running sync.WaitGroup
	sending.Go(func() { outbox.run(grace, ctx) })
	running.Go(func() { lanes.run(&lanes.queue) })
	for range a.cfg.Long {
		running.Go(func() { lanes.run(&lanes.long) })
	}
	running.Go(func() { a.status.run(ctx) })
	running.Go(func() { a.rotate(ctx, s.identity) })
	a.status.tell(nil)
	a.status.update(ctx)
	poller.run(ctx)
	running.Wait()
	outbox.line.close()
	sending.Wait()
}
