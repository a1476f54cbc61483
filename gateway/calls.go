package gateway

import (
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
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// callGuest is callInstance for the instance of the request's path.
func (g *Gateway) callGuest(r *request, method string, args, out any) error {
	return g.callInstance(r, r.param("id"), false, method, args, out)
}

// callSet is callGuest for a change of users or root, of which the server's replicas may know nothing: where every server has
// its own, each replica is asked for the same. failed are those that could not.
func (g *Gateway) callSet(r *request, method string, args, out any) (failed []string, err error) {
	if err := g.callGuest(r, method, args, out); err != nil {
		return nil, err
	}
	in, err := g.instance(r)
	if err != nil || !in.UsersPerServer {
		return nil, err
	}
	for _, replica := range in.Replicas {
		if err := g.callInstance(r, replica, true, method, args, nil); err != nil {
			g.log.Warn("a replica has other users than its source", "instance_id", replica, "method", method, "err", err)
			failed = append(failed, replica)
		}
	}
	return failed, nil
}

// callInstance asks an instance's guest for a method of the table and waits for its answer, which is decoded into out
// unless that is nil. A method that the manager lacks is 501, an instance that cannot be asked now 422, a guest that is
// not there 503 at once, one that does not answer in the method's time 504. A replica takes changes only as one.
func (g *Gateway) callInstance(r *request, instanceID string, asReplica bool, method string, args, out any) error {
	m, ok := datastores.LookupMethod(method)
	if !ok {
		return fmt.Errorf("no method %q", method)
	}
	ctx, cancel := context.WithTimeout(r.ctx, m.Timeout)
	defer cancel()
	id := newID()
	answer := g.waiters.add(id)
	defer g.waiters.remove(id)
	if err := g.enqueue(ctx, r, instanceID, asReplica, m, id, args); err != nil {
		return err
	}
	result, err := g.await(ctx, instanceID, id, answer)
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
func (g *Gateway) enqueue(ctx context.Context, r *request, instanceID string, asReplica bool, m datastores.Method, id string, args any) error {
	instanceKey, agentKey := etcdschema.InstanceKey(r.project, instanceID), etcdschema.AgentKey(instanceID)
	presenceKey := etcdschema.PresenceKey(instanceID)
	refs := []etcdschema.Ref{instanceKey, agentKey, presenceKey}
	_, err := g.store.Update(ctx, refs, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, instanceKey)
		in, err := mustFind(rec, err, "Instance", instanceID)
		if err != nil {
			return nil, err
		}
		if err := supports(in, m); err != nil {
			return nil, err
		}
		if err := lifecycle.Serves(in); err != nil {
			return nil, err
		}
		if in.ReplicaOf != "" && !asReplica && writes(m) {
			return nil, faultf(unprocessable, "Instance %s is a replica: what it holds is changed at its source %s.", in.ID, in.ReplicaOf)
		}
		if err := g.canBeAsked(s, in); err != nil {
			return nil, err
		}
		now := g.now().UTC()
		cmd := etcdschema.Command{
			Command: agentpoll.Command{ID: id, Method: m.Name, Deadline: now.Add(m.Timeout), Traceparent: r.traceparent()},
			Project: r.project, Instance: instanceID, Enqueued: now, User: r.who.UserName,
		}
		if err := fillArgs(s, &cmd, instanceID, args, m.Secret); err != nil {
			return nil, err
		}
		return []etcdschema.Op{g.signer.command(instanceID, cmd)}, nil
	})
	return err
}

// writes tells whether a method changes what tenants have in the database.
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
	return faultf(notImplemented, "The datastore %s %s does not support %s (%s); it can do: %s.", in.Datastore, in.Version, m.Needs, m.Name, can)
}

// settle is how long it may take until a gateway that holds an agent contradicts one that lost it.
const settle = 2 * time.Second

// reachable judges by its presence whether an agent can be asked. Nobody is judged before one full expiry has passed since
// this gateway started, or since another one took its agents' presence with it: they may not have had the time to come back.
func (g *Gateway) reachable(agentID string, presence etcdschema.Record[etcdschema.Presence]) error {
	switch {
	case g.agents.Holds(agentID):
		return nil
	case presence.Found && presence.Value.Gateway != "":
		return nil
	case g.now().Before(presence.Value.Since.Add(g.Expiry)): // as one that has just enrolled
		return nil
	case g.now().Before(presence.Value.Judged.Add(settle)): // another gateway may hold it, and is about to say so
		return nil
	case presence.Found && !g.now().Before(g.started.Add(g.Expiry)):
		return &fault{kind: unavailable, message: fmt.Sprintf("The guest is not connected since %s. Nothing was sent to it.", stamp(presence.Value.Since)), retryAfter: 30 * time.Second}
	case g.now().Before(g.started.Add(g.Expiry)), g.now().Before(time.Unix(0, g.left.Load()).Add(g.Expiry)):
		return nil
	}
	return &fault{kind: unavailable, message: fmt.Sprintf("The guest is not connected, for at least %s. Nothing was sent to it.", g.Expiry), retryAfter: 30 * time.Second}
}

// awaitStep waits for the result of the command that an instance's operation waits for. The command stays when nobody waits
// any more: the operation has its own deadline.
func (g *Gateway) awaitStep(ctx context.Context, in etcdschema.Instance) (agentpoll.Result, error) {
	id := in.Operation.Command
	answer := g.waiters.add(id)
	defer g.waiters.remove(id)
	// It may have come before anybody listened.
	if rec, err := etcdschema.Get(ctx, g.store, etcdschema.ResultKey(id)); err == nil {
		return rec.Value.Result, nil
	}
	select {
	case result := <-answer:
		return result, nil
	case <-ctx.Done():
		return agentpoll.Result{}, faultf(timedOut, "The guest did not answer in time.")
	}
}

// await waits for a command's result. When the time is up the command is withdrawn, so that it cannot take effect when
// nobody expects it any more.
func (g *Gateway) await(ctx context.Context, agentID, id string, answer <-chan agentpoll.Result) (agentpoll.Result, error) {
	select {
	case result := <-answer:
		return result, nil
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	key := etcdschema.CommandKey(agentID, id)
	_, err := g.store.Update(ctx, []etcdschema.Ref{key}, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		return []etcdschema.Op{etcdschema.Delete(key)}, nil
	})
	if err != nil {
		return agentpoll.Result{}, err
	}
	if rec, err := etcdschema.Get(ctx, g.store, etcdschema.ResultKey(id)); err == nil {
		return rec.Value.Result, nil
	} else if !errors.Is(err, etcdschema.ErrNotFound) {
		return agentpoll.Result{}, err
	}
	return agentpoll.Result{}, faultf(timedOut, "The guest did not answer in time. The command was withdrawn; it may have taken effect if the guest had begun it.")
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

// waits tells whether anybody here waits for the command.
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
