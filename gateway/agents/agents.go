// Package agents is what the gateway does for those who poll it: it enrols guests and hosts, gives them their commands, takes their results
// and their words, and passes on what other gateways have put into etcd.
package agents

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/server"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Backend is what the server of the agent protocol asks. Make it with [New].
type Backend struct {
	control  *control.Plane
	id       string // of this gateway
	agents   *server.Server
	session  *etcdschema.Session // with which the presence of its agents ends
	locks    atomic.Uint64       // agents that were locked
	strayed  atomic.Uint64       // replicas that were told to follow no more
	rejoined atomic.Uint64       // and again
}

var _ server.Backend = (*Backend)(nil)

// New returns the backend of a gateway. Before it is asked for anything, Join must tell it who asks.
func New(plane *control.Plane, gatewayID string) *Backend {
	return &Backend{control: plane, id: gatewayID}
}

// Join gives the backend the server that asks it, and the session on which this gateway says whose polls it holds.
func (be *Backend) Join(agents *server.Server, session *etcdschema.Session) {
	be.agents, be.session = agents, session
}

// Locks is how many agents were locked here, since two machines used their identity.
func (be *Backend) Locks() uint64 { return be.locks.Load() }

// Followings is how often a replica was said to follow its source no more, and how often to follow it again, to this gateway.
func (be *Backend) Followings() (strayed, rejoined uint64) {
	return be.strayed.Load(), be.rejoined.Load()
}

// countFollowing counts what a report has changed.
func (be *Backend) countFollowing(before, after lifecycle.Member) {
	switch was, is := lifecycle.Astray(before) != "", lifecycle.Astray(after) != ""; {
	case is && !was:
		be.strayed.Add(1)
	case was && !is:
		be.rejoined.Add(1)
	}
}

// Pending reads an agent's commands. One whose deadline has passed is left to the server to skip.
func (be *Backend) Pending(ctx context.Context, agentID string) ([]agentpoll.Command, int64, error) {
	list, err := etcdschema.List(ctx, be.control.Store, etcdschema.Commands(agentID), etcdschema.Page{})
	if err != nil {
		return nil, 0, err
	}
	cmds := make([]agentpoll.Command, 0, len(list.Records))
	for _, rec := range list.Records { // UUIDv7: the order of keys is nearly, not surely, that of enqueueing
		cmd := rec.Value.Command
		cmd.NotBefore = rec.Created
		cmds = append(cmds, cmd)
	}
	inOrder(cmds)
	return cmds, list.Revision, nil
}

// Sign implements [server.Backend]. The watch may see a command before its agent calls here for the first time, and before its key is known.
func (be *Backend) Sign(agentID string, commands []agentpoll.Command) {
	for i, cmd := range commands {
		commands[i] = be.control.Signer.Deliver(agentID, cmd)
	}
}

// Report takes a guest's status or a host's announcement.
func (be *Backend) Report(ctx context.Context, agentID string, raw json.RawMessage) error {
	agentKey := etcdschema.AgentKey(agentID)
	isHost := false
	var before, after lifecycle.Member
	_, err := be.control.Commit(ctx, []etcdschema.Ref{agentKey}, func(s etcdschema.Snapshot) (m plan.Moves, err error) {
		agent, err := etcdschema.Read(s, agentKey)
		if err != nil || !agent.Found {
			return m, err
		}
		if isHost = agent.Value.Kind == agentpoll.Host; isHost {
			m.Ops, err = be.hostAnnounced(s, agentID, raw, nil)
			return m, err
		}
		var status datastores.Status
		if len(raw) > limits.MaxStatus {
			return m, tooLong("status", limits.MaxStatus)
		}
		if err := json.Unmarshal(raw, &status); err != nil {
			return m, agentpoll.Errorf(agentpoll.Invalid, "the status cannot be read: %v", err)
		}
		status.Message, status.Refused, status.Warning = limits.Shortened(status.Message), limits.Shortened(status.Refused), limits.Shortened(status.Warning)
		if f := status.Replication; f != nil {
			f.Why = limits.Shortened(f.Why)
		}
		rec, err := etcdschema.Read(s, etcdschema.InstanceKey(agent.Value.Project, agentID))
		if err != nil || !rec.Found {
			return m, err
		}
		ops, err := be.shipped(s, rec.Value, &status)
		if err != nil {
			return m, err
		}
		more, err := able(s, &rec.Value, &status)
		if more {
			key := etcdschema.InstanceKey(agent.Value.Project, agentID)
			ops, s = append(ops, etcdschema.Put(key, rec.Value)), etcdschema.With(s, key, rec.Value)
		}
		if err != nil || sameStatus(rec.Value.Service, status) {
			return plan.Moves{Ops: ops}, err
		}
		member, err := plan.MemberOf(s, rec.Value)
		if err != nil {
			return m, err
		}
		m, err = be.control.Plan(s, member, lifecycle.Event{Type: lifecycle.Reported, Status: status}).Decide()
		m.Ops = append(ops, m.Ops...)
		before, after = member, m.After
		return m, err
	})
	if err == nil {
		be.countFollowing(before, after)
	}
	if err == nil && isHost {
		be.control.Go(be.control.Review)
	}
	return err
}

// tooLong refuses what an agent says at too great a length.
func tooLong(what string, most int) error {
	return agentpoll.Errorf(agentpoll.Invalid, "the %s has more than %d bytes", what, most)
}

func sameStatus(a, b datastores.Status) bool {
	sameVolume := a.Volume == nil && b.Volume == nil || a.Volume != nil && b.Volume != nil && *a.Volume == *b.Volume
	sameSince, sameFollowing := a.Since.Equal(b.Since), a.Replication.Same(b.Replication)
	a.Volume, b.Volume, a.Since, b.Since = nil, nil, time.Time{}, time.Time{}
	a.Replication, b.Replication = nil, nil
	return a == b && sameVolume && sameSince && sameFollowing
}

// progressEvery is how often the instance's record is written for progress that says nothing new in words.
const progressEvery = 5 * time.Second

// Progress keeps the last words of a step's command in the instance, and gives a step that moves data more time.
func (be *Backend) Progress(ctx context.Context, agentID, commandID string, p agentpoll.Progress) error {
	p.Message, p.Unit = limits.Shortened(p.Message), p.Unit[:min(len(p.Unit), limits.MaxWord)]
	key := etcdschema.CommandKey(agentID, commandID)
	_, err := be.control.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		cmd, err := etcdschema.Read(s, key)
		if err != nil || !cmd.Found || !cmd.Value.Step {
			return nil, err
		}
		if cmd.Value.Set != "" {
			return setProgress(s, cmd.Value, p)
		}
		instanceKey := etcdschema.InstanceKey(cmd.Value.Project, cmd.Value.Instance)
		rec, err := etcdschema.Read(s, instanceKey)
		if err != nil || !rec.Found || rec.Value.Operation == nil || rec.Value.Operation.Command != commandID {
			return nil, err
		}
		in, now := rec.Value, be.control.Now().UTC()
		op := *in.Operation
		said := op.Progress != nil && wording(op.Progress.Message) == wording(p.Message)
		if limit := lifecycle.Stall(in, now); limit.After(op.Deadline.Add(progressEvery)) {
			op.Deadline = limit
		} else if said {
			return nil, nil
		}
		op.Progress, in.Operation = &p, &op
		ops, err := plan.BackupBegins(s, in)
		if err != nil {
			return nil, err
		}
		if !said {
			ops = append(ops, plan.Tell(&in, etcdschema.Event{At: now, Kind: "progress", Message: p.Message})...)
		}
		return append(ops, etcdschema.Put(instanceKey, in)), nil
	})
	return err
}

// setProgress keeps the last words of a step of a set's operation.
func setProgress(s etcdschema.Snapshot, cmd etcdschema.Command, p agentpoll.Progress) ([]etcdschema.Op, error) {
	key := etcdschema.SetKey(cmd.Project, cmd.Set)
	rec, err := etcdschema.Read(s, key)
	op := rec.Value.Operation
	if err != nil || op == nil || op.Command != cmd.ID || op.Progress != nil && wording(op.Progress.Message) == wording(p.Message) {
		return nil, err
	}
	op.Progress = &p
	return []etcdschema.Op{etcdschema.Put(key, rec.Value)}, nil
}

// wording is a message without its numbers: the timeline tells what is done, not how much of it.
func wording(message string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsDigit(c) {
			return -1
		}
		return c
	}, message)
}

// Result commits how a command ended: it is deleted, its result and its row stored, and the instance moved on, in one transaction.
func (be *Backend) Result(ctx context.Context, agentID, commandID string, result agentpoll.Result) error {
	sent := result
	result.Audit = nil
	if e := result.Error; e != nil {
		result.Error = &agentpoll.Error{Kind: e.Kind[:min(len(e.Kind), limits.MaxWord)], Message: limits.Shortened(e.Message)}
	}
	key, resultKey := etcdschema.CommandKey(agentID, commandID), etcdschema.ResultKey(commandID)
	_, err := be.control.Commit(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) (plan.Moves, error) {
		cmd, err := etcdschema.Read(s, key)
		if err != nil {
			return plan.Moves{}, err
		}
		if !cmd.Found {
			old, err := etcdschema.Read(s, resultKey)
			if err == nil && (!old.Found || old.Value.Agent != agentID) {
				err = server.ErrGone
			}
			return plan.Moves{}, err
		}
		ops := []etcdschema.Op{
			etcdschema.Delete(key),
			etcdschema.Put(resultKey, etcdschema.CommandResult{Result: result, Agent: agentID, At: be.control.Now().UTC()}).For(plan.KeepResults),
		}
		audit, err := be.control.Signer.Audit(s, agentID, be.control.Signer.Ended(agentID, cmd.Value, &sent, be.control.Now()))
		if err != nil {
			return plan.Moves{}, err
		}
		kept, err := keepDefaults(s, cmd.Value, result)
		if err != nil {
			return plan.Moves{}, err
		}
		m, err := be.resultMoves(s.After(audit...), agentID, cmd.Value, result)
		m.Ops = slices.Concat(ops, audit, kept, m.Ops)
		return m, err
	})
	return err
}

// resultMoves is what a command's result changes of its instance, or of the set that waits for it.
func (be *Backend) resultMoves(s etcdschema.Snapshot, agentID string, cmd etcdschema.Command, result agentpoll.Result) (plan.Moves, error) {
	if cmd.Method == deployments.MethodCheck && result.Error == nil {
		ops, err := be.control.Checked(s, agentID, cmd, result.Value)
		return plan.Moves{Ops: ops}, err
	}
	if cmd.Method == deployments.MethodRemove && !cmd.Step {
		return be.removedElsewhere(s, agentID, cmd, result)
	}
	if cmd.Method == deployments.MethodProtect {
		return be.toldHost(s, cmd, result)
	}
	aboutRoot := cmd.Method == datastores.MethodEnableRoot || cmd.Method == datastores.MethodDisableRoot
	if !cmd.Step && (!aboutRoot || result.Error != nil) {
		return plan.Moves{}, nil
	}
	event := lifecycle.Event{Type: lifecycle.Done, Command: cmd.ID, Value: result.Value}
	if result.Error != nil {
		event.Type, event.Error = lifecycle.Failed, result.Error
	}
	if cmd.Set != "" {
		rec, err := etcdschema.Read(s, etcdschema.SetKey(cmd.Project, cmd.Set))
		if err != nil || !rec.Found {
			return plan.Moves{}, err
		}
		return be.control.Plan(s, lifecycle.Member{Set: rec.Value}, event).Decide()
	}
	key := etcdschema.InstanceKey(cmd.Project, cmd.Instance)
	rec, err := etcdschema.Read(s, key)
	if err != nil || !rec.Found {
		return plan.Moves{}, err
	}
	if !cmd.Step {
		return be.rememberRoot(s, rec.Value, rootChange{on: cmd.Method == datastores.MethodEnableRoot, by: cmd.User, at: be.control.Now().UTC()})
	}
	if cmd.Method == datastores.MethodPrepare && result.Error == nil {
		asPrepared(&rec.Value, result.Value, be.control.Now().UTC())
	}
	m, err := plan.MemberOf(s, rec.Value)
	if err != nil {
		return plan.Moves{}, err
	}
	return be.control.Plan(s, m, event).Decide()
}

// removedElsewhere is the end of what a host had of an instance that has left it. What it could not remove it is asked for again when it
// announces itself.
func (be *Backend) removedElsewhere(s etcdschema.Snapshot, host string, cmd etcdschema.Command, result agentpoll.Result) (m plan.Moves, err error) {
	if result.Error != nil {
		be.control.Log.Error("a host cannot remove what it has of an instance that has left it; restart its coffer-host to have it asked again", "host_id", host, "instance_id", cmd.Instance, "err", result.Error.Message)
		return m, nil
	}
	m.Ops, err = plan.Removed(s, host, cmd)
	return m, err
}

// toldHost puts what came of telling a host anew who may reach an instance into the timeline, when it is not what was asked for:
// nobody waits for the result.
func (be *Backend) toldHost(s etcdschema.Snapshot, cmd etcdschema.Command, result agentpoll.Result) (plan.Moves, error) {
	var told deployments.ProtectReply
	_ = json.Unmarshal(result.Value, &told) // nothing, when it cannot be read
	kind, words := "note", told.Notes
	if result.Error != nil {
		kind, words = "fault", []string{"the host has not changed who may reach the instance, it is as before: " + result.Error.Message}
	}
	if len(words) == 0 {
		return plan.Moves{}, nil
	}
	key := etcdschema.InstanceKey(cmd.Project, cmd.Instance)
	rec, err := etcdschema.Read(s, key)
	if err != nil || !rec.Found {
		return plan.Moves{}, err
	}
	var ops []etcdschema.Op
	for _, text := range words {
		ops = append(ops, plan.Tell(&rec.Value, etcdschema.Event{At: be.control.Now().UTC(), Kind: kind, Message: text})...)
	}
	return plan.Moves{Ops: append(ops, etcdschema.Put(key, rec.Value))}, nil
}

func inOrder(cmds []agentpoll.Command) {
	slices.SortFunc(cmds, func(a, b agentpoll.Command) int { return cmp.Compare(a.NotBefore, b.NotBefore) })
}
