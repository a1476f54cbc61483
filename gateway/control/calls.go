package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

// CallSet makes a change of users or root on an instance and, where users are not replicated, on each of its replicas, or of the other members of
// its cluster. It returns those that failed.
func (cp *Plane) CallSet(ctx context.Context, c Caller, id, method string, args, out any) (failed []string, err error) {
	if err := cp.CallInstance(ctx, c, id, false, method, args, out); err != nil {
		return nil, err
	}
	in, err := cp.Instance(ctx, c, id)
	if err != nil || !in.UsersPerServer {
		return nil, err
	}
	others := in.Replicas()
	if in.Clustered() {
		for _, m := range in.Set.Members {
			if m.ID != in.ID && m.State == "" {
				others = append(others, m.ID)
			}
		}
	}
	for _, replica := range others {
		if err := cp.CallInstance(ctx, c, replica, true, method, args, nil); err != nil {
			cp.Log.Warn("a replica has other users than its source", "instance_id", replica, "method", method, "err", err)
			failed = append(failed, replica)
		}
	}
	return failed, nil
}

// CallInstance asks an instance's guest for a method of the table and waits for its answer, which is decoded into out
// unless that is nil. A method that the manager lacks is 501, an instance that cannot be asked now 422, a guest that is
// not there 503 at once, one that does not answer in the method's time 504. A replica takes changes only as one.
func (cp *Plane) CallInstance(ctx context.Context, c Caller, instanceID string, asReplica bool, method string, args, out any) error {
	m, ok := datastores.LookupMethod(method)
	if !ok {
		return fmt.Errorf("no method %q", method)
	}
	ctx, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	id := plan.NewID()
	answer := cp.waiters.add(id)
	defer cp.waiters.remove(id)
	if err := cp.enqueue(ctx, c, instanceID, asReplica, m, id, args); err != nil {
		return err
	}
	result, err := cp.await(ctx, instanceID, id, answer)
	if err != nil {
		return err
	}
	if result.Error != nil {
		return result.Error
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(result.Value, out); err != nil {
		return fmt.Errorf("the guest's answer to %s cannot be read: %w", method, err)
	}
	return nil
}

// enqueue checks that the call is possible and stores its command, in one transaction.
func (cp *Plane) enqueue(ctx context.Context, c Caller, instanceID string, asReplica bool, m datastores.Method, id string, args any) error {
	instanceKey := etcdschema.InstanceKey(c.Project, instanceID)
	refs := []etcdschema.Ref{instanceKey}
	if m.Secret { // its arguments are sealed to the guest's key
		refs = append(refs, etcdschema.AgentKey(instanceID))
	}
	if !cp.Polls.Holds(instanceID) { // another gateway may
		refs = append(refs, etcdschema.PresenceKey(instanceID))
	}
	_, err := cp.Store.Update(ctx, refs, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, instanceKey)
		in, err := fault.Found(rec, err, "Instance", instanceID)
		if err != nil {
			return nil, err
		}
		if err := cmp.Or(plan.NoDrill(in), supports(in, m)); err != nil {
			return nil, err
		}
		member, err := plan.MemberOf(s, in)
		if err != nil {
			return nil, err
		}
		if err := lifecycle.Serves(member); err != nil {
			return nil, err
		}
		if of := member.ReplicaOf(); of != "" && !asReplica && writes(m) {
			return nil, fault.Errorf(fault.Unprocessable, "Instance %s is a replica: what it holds is changed at its source %s.", in.ID, of)
		}
		if err := cp.reachable(s, in.ID); err != nil {
			return nil, err
		}
		now := cp.Now().UTC()
		cmd := etcdschema.Command{
			Command: agentpoll.Command{ID: id, Method: m.Name, Deadline: now.Add(m.Timeout), Traceparent: c.Traceparent},
			Project: c.Project, Instance: instanceID, Enqueued: now, User: c.Who.UserName, Request: c.Request,
		}
		if err := plan.FillArgs(s, &cmd, instanceID, args, m.Secret); err != nil {
			return nil, err
		}
		return []etcdschema.Op{cp.Signer.Command(instanceID, cmd)}, nil
	})
	return err
}

// AskAgent asks an agent, a guest in any state or a host, and waits for the value of its answer. An agent that is not there is a 503 at once.
func (cp *Plane) AskAgent(ctx context.Context, c Caller, agentID, method string, timeout time.Duration, args any) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	id := plan.NewID()
	answer := cp.waiters.add(id)
	defer cp.waiters.remove(id)
	agentKey, presenceKey := etcdschema.AgentKey(agentID), etcdschema.PresenceKey(agentID)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{agentKey, presenceKey}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		agent, err := etcdschema.Read(s, agentKey)
		if err != nil {
			return nil, err
		}
		if !agent.Found {
			return nil, fault.Errorf(fault.Unavailable, "The agent %s has not enrolled.", agentID)
		}
		if err := cp.reachable(s, agentID); err != nil {
			return nil, err
		}
		now := cp.Now().UTC()
		cmd := etcdschema.Command{
			Command:  agentpoll.Command{ID: id, Method: method, Deadline: now.Add(timeout), Traceparent: c.Traceparent},
			Enqueued: now, User: c.Who.UserName, Request: c.Request,
		}
		err = plan.FillArgs(s, &cmd, agentID, args, false)
		return []etcdschema.Op{cp.Signer.Command(agentID, cmd)}, err
	})
	if err != nil {
		return nil, err
	}
	result, err := cp.await(ctx, agentID, id, answer)
	if err == nil && result.Error != nil {
		err = result.Error
	}
	return result.Value, err
}

// writes reports whether a method changes what tenants have in the database.
func writes(m datastores.Method) bool {
	switch m.Needs {
	case datastores.CanDatabases, datastores.CanUsers, datastores.CanAccess, datastores.CanRoot:
		return !m.Reads
	}
	return false
}

// supports refuses what the instance's manager does not do.
func supports(in etcdschema.Instance, m datastores.Method) error {
	if m.Needs == "" || slices.Contains(in.Capabilities, m.Needs) {
		return nil
	}
	can := "nothing beyond its life cycle"
	if len(in.Capabilities) > 0 {
		can = fmt.Sprint(in.Capabilities)
	}
	return fault.Errorf(fault.NotImplemented, "The datastore %s %s does not support %s (%s); it can do: %s.", in.Datastore, in.Version, m.Needs, m.Name, can)
}

// awaitStep waits for the result of the command that an instance's operation waits for. The command stays when nobody waits
// any more: the operation has its own deadline.
func (cp *Plane) awaitStep(ctx context.Context, in etcdschema.Instance) (agentpoll.Result, error) {
	id := in.Operation.Command
	answer := cp.waiters.add(id)
	defer cp.waiters.remove(id)
	// It may have come before anybody listened.
	if rec, err := etcdschema.Get(ctx, cp.Store, etcdschema.ResultKey(id)); err == nil {
		return rec.Value.Result, nil
	}
	select {
	case result := <-answer:
		return result, nil
	case <-ctx.Done():
		return agentpoll.Result{}, fault.Errorf(fault.TimedOut, "The guest did not answer in time.")
	}
}

// await waits for a command's result. When the time is up the command is withdrawn, so that it cannot take effect when
// nobody expects it any more.
func (cp *Plane) await(ctx context.Context, agentID, id string, answer <-chan agentpoll.Result) (agentpoll.Result, error) {
	select {
	case result := <-answer:
		return result, nil
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	key := etcdschema.CommandKey(agentID, id)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		cmd, err := etcdschema.Read(s, key)
		if err != nil || !cmd.Found {
			return nil, err
		}
		ops, err := cp.Signer.Audit(s, agentID, cp.Signer.Ended(agentID, cmd.Value, nil, cp.Now()))
		return append(ops, etcdschema.Delete(key)), err
	})
	if err != nil {
		return agentpoll.Result{}, err
	}
	if rec, err := etcdschema.Get(ctx, cp.Store, etcdschema.ResultKey(id)); err == nil {
		return rec.Value.Result, nil
	} else if !errors.Is(err, etcdschema.ErrNotFound) {
		return agentpoll.Result{}, err
	}
	return agentpoll.Result{}, fault.Errorf(fault.TimedOut, "The guest did not answer in time. The command was withdrawn; it may have taken effect if the guest had begun it.")
}

// waiters are the calls that wait for a result, by command.
type waiters struct {
	mu sync.Mutex
	by map[string]chan agentpoll.Result
}

func (w *waiters) add(id string) <-chan agentpoll.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil {
		w.by = map[string]chan agentpoll.Result{}
	}
	c := make(chan agentpoll.Result, 1)
	w.by[id] = c
	return c
}

func (w *waiters) remove(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.by, id)
}

// deliver hands a result to the call that waits for it, if there is one here. A second delivery is dropped.
func (w *waiters) deliver(id string, result agentpoll.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c, ok := w.by[id]; ok {
		select {
		case c <- result:
		default:
		}
	}
}

// waits reports whether anybody here waits for the command.
func (w *waiters) waits(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.by[id]
	return ok
}

// ids returns what is waited for.
func (w *waiters) ids() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := make([]string, 0, len(w.by))
	for id := range w.by {
		ids = append(ids, id)
	}
	return ids
}

// Deliver hands a result to the call that waits for it here, if there is one.
func (cp *Plane) Deliver(commandID string, result agentpoll.Result) {
	cp.waiters.deliver(commandID, result)
}

// Waits reports whether a call waits here for a command's result.
func (cp *Plane) Waits(commandID string) bool { return cp.waiters.waits(commandID) }

// WaitedFor are the commands for whose results calls wait here.
func (cp *Plane) WaitedFor() []string { return cp.waiters.ids() }
