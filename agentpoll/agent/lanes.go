package agent

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/cofferdb/coffer/agentpoll"
)

// errCancelled is the cause with which a command's context ends when the gateway cancels it.
var errCancelled = agentpoll.Errorf(agentpoll.Cancelled, "cancelled")

// errUnsigned is the result of a command that is not the gateways'.
var errUnsigned = agentpoll.Errorf(agentpoll.Refused, "the agent refuses what its own gateways have not signed; ask the operator")

// lanes run commands: short ones in the queue, first in first out; long ones beside it.
type lanes struct {
	handler Handler
	client  *client
	journal *journal
	outbox  *outbox
	log     *slog.Logger

	queue, long lane

	mu   sync.Mutex
	held map[string]*job   // commands that were taken and have not ended
	told bool              // of a command that was refused
	keys map[string][]byte // of commands, by the gateways' public key
}

// lane holds jobs that are begun one after another.
type lane struct {
	take context.Context // takes no more when it ends
	work context.Context // what runs is cut when it ends
	jobs *fifo[*job]
}

// job is a command that was taken.
type job struct {
	agentpoll.Command
	lane   *lane
	traits Traits
	known  bool
	key    []byte          // that has signed it; nil: the agent was told none
	ctx    context.Context // ends with errCancelled when the gateway cancels it
	cancel context.CancelCauseFunc
}

// newLanes makes lanes that take nothing more when ctx ends. Short commands that run then may go on until grace ends.
func newLanes(ctx, grace context.Context, h Handler, c *client, j *journal, o *outbox, log *slog.Logger) *lanes {
	return &lanes{
		handler: h, client: c, journal: j, outbox: o, log: log,
		queue: lane{take: ctx, work: grace, jobs: newFifo[*job]()},
		long:  lane{take: ctx, work: ctx, jobs: newFifo[*job]()},
		held:  map[string]*job{},
		keys:  map[string][]byte{},
	}
}

// run works off a lane. As many of its jobs run at once as there are calls of it.
func (l *lanes) run(lane *lane) {
	for {
		j, ok := lane.jobs.next(lane.take)
		if !ok {
			return
		}
		if result, ended := l.execute(j); ended {
			l.settle(j, result)
		} else {
			l.release(j)
		}
	}
}

// deliver takes commands, in order. It returns how many were new.
func (l *lanes) deliver(commands []agentpoll.Command) (news int) {
	for _, c := range commands {
		key, trusted := l.trusted(c)
		if !trusted {
			continue
		}
		traits, known := l.method(c.Method)
		j := &job{Command: c, lane: &l.queue, traits: traits, known: known, key: key}
		if traits.Long {
			j.lane = &l.long
		}
		if l.hold(j) {
			news++
			j.lane.jobs.push(j)
		}
	}
	return news
}

// method tells how a method is run: the agent's own one, or its handler's.
func (l *lanes) method(name string) (Traits, bool) {
	if name == agentpoll.MethodAudit {
		return Traits{Reads: true}, true
	}
	return l.handler.Method(name)
}

// trusted reports whether the agent's own gateways have signed a command, and with which key. It refuses another, and leaves no trace of it
// in the journal, where it could stand for a rightful one.
func (l *lanes) trusted(c agentpoll.Command) (key []byte, trusted bool) {
	rec := l.client.identity.record()
	for _, public := range rec.CommandKeys {
		if key := l.key(public, rec.AgentID); c.SignedBy(key, rec.AgentID) {
			return key, true
		}
	}
	if len(rec.CommandKeys) == 0 {
		return nil, true
	}
	l.mu.Lock()
	first := !l.told
	l.told = true
	l.mu.Unlock()
	if first {
		l.log.Error("a command was refused that the gateways of this agent have not signed: a gateway is false or of an older version, or somebody else writes to etcd; more of them are not told of",
			"command_id", c.ID, "method", c.Method)
	}
	l.outbox.add(&parcel{id: c.ID, result: agentpoll.Result{Error: errUnsigned}})
	return nil, false
}

// key is the key of commands that the agent has with a public key of the gateways. It is made once.
func (l *lanes) key(public []byte, agentID string) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	key, made := l.keys[string(public)]
	if !made {
		key = agentpoll.CommandKey(l.client.identity.key, public, agentID)
		l.keys[string(public)] = key
	}
	return key
}

// hold takes a job in. False when its command is held already, or has ended: then its result is on its way (again).
func (l *lanes) hold(j *job) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[j.ID] != nil || l.outbox.again(j.ID) {
		return false
	}
	if result, ok := l.journal.finished(j.ID); ok {
		l.outbox.add(&parcel{id: j.ID, result: result, journaled: true})
		return false
	}
	j.ctx, j.cancel = context.WithCancelCause(j.lane.work)
	l.held[j.ID] = j
	return true
}

func (l *lanes) release(j *job) {
	j.cancel(nil)
	l.mu.Lock()
	delete(l.held, j.ID)
	l.mu.Unlock()
}

// cancel stops commands that have not started, and long ones that have. Others finish.
func (l *lanes) cancel(ids []string) {
	var started []*job
	for _, id := range ids {
		l.mu.Lock()
		j := l.held[id]
		l.mu.Unlock()
		switch {
		case j == nil:
		case j.lane.jobs.remove(func(other *job) bool { return other == j }):
			l.settle(j, agentpoll.Result{Error: errCancelled})
		case j.traits.Long:
			started = append(started, j)
		}
	}
	for _, j := range started { // last, lest one ends and another of ids starts in its place
		j.cancel(errCancelled)
	}
}

// running lists the commands that have not ended.
func (l *lanes) running() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := make([]string, 0, len(l.held))
	for id := range l.held {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids[:min(len(ids), maxRunning)]
}

const maxRunning = 256 // see agentpoll.PollRequest

// settle journals a result, lets the command go and sends the result, in this order: whenever the command is delivered
// again, its result is found or it is run.
func (l *lanes) settle(j *job, result agentpoll.Result) {
	p := &parcel{id: j.ID, result: result}
	if j.known && !j.traits.Reads {
		agentID := l.client.identity.record().AgentID
		marked, pos, err := l.journal.finish(agentpoll.Row{
			ID: j.ID, Method: j.Method, Command: j.Digest(j.key, agentID), Result: result.Digest(j.key, agentID, j.ID),
		}, result)
		if err != nil {
			l.log.Error("a result is sent that a crash would lose", "command_id", j.ID, "err", err)
		}
		p.result, p.journaled, p.pos = marked, err == nil, pos
	}
	l.release(j)
	l.outbox.add(p)
}
