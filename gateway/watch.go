package gateway

import (
	"context"
	"slices"

	"github.com/cofferdb/coffer/agentpoll/server"
	"github.com/cofferdb/coffer/etcdschema"
)

// watch tells the parked polls and the waiting calls what happens in etcd, whichever gateway made it happen.
func (g *Gateway) watch(ctx context.Context) error {
	return g.store.Follow(ctx, etcdschema.GuestPrefix, etcdschema.AllCommands().String(), func(b etcdschema.Batch) {
		g.agents.Apply(g.observe(b))
		if b.Resync {
			g.work.Go(func() { g.lookForResults(ctx) })
		}
	})
}

// observe sorts out a batch: results go to the calls that wait here, the rest is for the polls.
func (g *Gateway) observe(b etcdschema.Batch) server.Changes {
	changes := server.Changes{Revision: b.Revision, Resync: b.Resync}
	finished := map[string]bool{}
	for _, c := range b.Changes {
		if id, ok := etcdschema.ParseResultKey(c.Key); ok && c.Value != nil {
			finished[id] = true
			if !g.waiters.waits(id) {
				continue
			}
			if result, err := etcdschema.Decode[etcdschema.CommandResult](c.Value); err == nil {
				g.waiters.deliver(id, result.Result)
			}
		}
	}
	removed := map[string]bool{} // agents that are deleted, with their presence: they have not left
	for _, c := range b.Changes {
		if id, ok := etcdschema.ParseAgentKey(c.Key); ok && c.Value == nil {
			removed[id] = true
		}
	}
	if slices.ContainsFunc(b.Changes, func(c etcdschema.Change) bool { return etcdschema.IsDefinition(c.Key) }) {
		g.work.Go(func() { g.review(g.running) })
	}
	for _, c := range b.Changes {
		if agent, id, ok := etcdschema.ParseCommandKey(c.Key); ok {
			changes.Commands = append(changes.Commands, g.commandChange(agent, id, c, finished[id]))
		} else if id, ok := etcdschema.ParseAgentKey(c.Key); ok {
			changes.Agents = append(changes.Agents, id)
		} else if id, ok := etcdschema.ParsePresenceKey(c.Key); ok {
			if c.Value == nil && !removed[id] {
				g.left.Store(g.now().UnixNano())
			}
			g.observePresence(id, c.Value, &changes)
		} else if c.Key == etcdschema.EpochKey().String() && c.Value != nil {
			g.newEpoch(c.Value)
		}
	}
	return changes
}

// observePresence hears who says that it holds an agent's poll.
func (g *Gateway) observePresence(agentID string, value []byte, changes *server.Changes) {
	if value == nil {
		changes.Vacant = append(changes.Vacant, agentID)
		return
	}
	switch p, err := etcdschema.Decode[etcdschema.Presence](value); {
	case err != nil:
	case p.Gateway == "":
		changes.Vacant = append(changes.Vacant, agentID)
	case p.Gateway != g.id:
		changes.Elsewhere = append(changes.Elsewhere, agentID)
	}
}

// newEpoch takes up the epoch that an operator has put after restoring etcd.
func (g *Gateway) newEpoch(value []byte) {
	if epoch, err := etcdschema.Decode[etcdschema.Epoch](value); err == nil {
		g.log.Warn("etcd has a new epoch; agents are told everything again", "epoch", epoch.ID, "reason", epoch.Reason)
		g.agents.SetEpoch(epoch.ID)
	}
}

func (g *Gateway) commandChange(agent, id string, c etcdschema.Change, finished bool) server.CommandChange {
	change := server.CommandChange{AgentID: agent, ID: id, Revision: c.Revision, Finished: finished}
	if c.Value == nil {
		return change
	}
	cmd, err := etcdschema.Decode[etcdschema.Command](c.Value)
	if err != nil {
		g.log.Error("a command cannot be read and is not delivered", "agent_id", agent, "command_id", id, "err", err)
		return change
	}
	cmd.Command = g.signer.deliver(agent, cmd.Command)
	cmd.Command.Fence = c.Revision
	change.Command = &cmd.Command
	return change
}

// lookForResults reads the results that the waiting calls may have missed while the watch was away.
func (g *Gateway) lookForResults(ctx context.Context) {
	for _, id := range g.waiters.ids() {
		if rec, err := etcdschema.Get(ctx, g.store, etcdschema.ResultKey(id)); err == nil {
			g.waiters.deliver(id, rec.Value.Result)
		}
	}
}
