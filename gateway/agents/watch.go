package agents

import (
	"context"
	"slices"

	"github.com/cofferdb/coffer/agentpoll/server"
	"github.com/cofferdb/coffer/etcdschema"
)

// Watch tells the parked polls and the waiting calls what happens in etcd, whichever gateway made it happen.
func (be *Backend) Watch(ctx context.Context) error {
	return be.control.Store.Follow(ctx, etcdschema.GuestPrefix, etcdschema.AllCommands().String(), func(b etcdschema.Batch) {
		be.agents.Apply(be.observe(b))
		if b.Resync {
			be.control.Go(be.lookForResults)
			be.control.Go(be.lookForLeft)
		}
	})
}

// observe sorts out a batch: results go to the calls that wait here, the rest is for the polls.
func (be *Backend) observe(b etcdschema.Batch) server.Changes {
	changes := server.Changes{Revision: b.Revision, Resync: b.Resync, Elsewhere: map[string]string{}}
	finished := map[string]bool{}
	for _, c := range b.Changes {
		if id, ok := etcdschema.ParseResultKey(c.Key); ok && c.Value != nil {
			finished[id] = true
			if !be.control.Waits(id) {
				continue
			}
			if result, err := etcdschema.Decode[etcdschema.CommandResult](c.Value); err == nil {
				be.control.Deliver(id, result.Result)
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
		be.control.Go(be.control.Review)
	}
	for _, c := range b.Changes {
		if agent, id, ok := etcdschema.ParseCommandKey(c.Key); ok {
			changes.Commands = append(changes.Commands, be.commandChange(agent, id, c, finished[id]))
		} else if id, ok := etcdschema.ParseAgentKey(c.Key); ok {
			changes.Agents = append(changes.Agents, id)
		} else if id, ok := etcdschema.ParsePresenceKey(c.Key); ok {
			if c.Value == nil && !removed[id] { // as with a gateway of an earlier release
				be.control.Go(be.reopen)
			}
			be.observePresence(id, c.Value, &changes)
		} else if id, ok := etcdschema.ParseGatewayPollsKey(c.Key); ok && c.Value != nil && id != be.id {
			if polls, err := etcdschema.Decode[etcdschema.GatewayPolls](c.Value); err == nil && !polls.Left.IsZero() {
				changes.Left = append(changes.Left, id)
			}
		} else if c.Key == etcdschema.EpochKey().String() && c.Value != nil {
			be.newEpoch(c.Value)
		}
	}
	return changes
}

// observePresence hears who says that it holds an agent's poll.
func (be *Backend) observePresence(agentID string, value []byte, changes *server.Changes) {
	if value == nil {
		changes.Vacant = append(changes.Vacant, agentID)
		return
	}
	switch p, err := etcdschema.Decode[etcdschema.Presence](value); {
	case err != nil:
	case p.Gateway == "":
		changes.Vacant = append(changes.Vacant, agentID)
	case p.Gateway != be.id:
		changes.Elsewhere[agentID] = p.Gateway
	}
}

// newEpoch takes up the epoch that an operator has put after restoring etcd.
func (be *Backend) newEpoch(value []byte) {
	if epoch, err := etcdschema.Decode[etcdschema.Epoch](value); err == nil {
		be.control.Log.Warn("etcd has a new epoch; agents are told everything again", "epoch", epoch.ID, "reason", epoch.Reason)
		be.agents.SetEpoch(epoch.ID)
	}
}

func (be *Backend) commandChange(agent, id string, c etcdschema.Change, finished bool) server.CommandChange {
	change := server.CommandChange{AgentID: agent, ID: id, Revision: c.Revision, Finished: finished}
	if c.Value == nil {
		return change
	}
	cmd, err := etcdschema.Decode[etcdschema.Command](c.Value)
	if err != nil {
		be.control.Log.Error("a command cannot be read and is not delivered", "agent_id", agent, "command_id", id, "err", err)
		return change
	}
	cmd.Command.NotBefore = c.Revision
	change.Command = &cmd.Command
	return change
}

// lookForResults reads the results that the waiting calls may have missed while the watch was away.
func (be *Backend) lookForResults(ctx context.Context) {
	for _, id := range be.control.WaitedFor() {
		if rec, err := etcdschema.Get(ctx, be.control.Store, etcdschema.ResultKey(id)); err == nil {
			be.control.Deliver(id, rec.Value.Result)
		}
	}
}
