package plan

import (
	"encoding/json"
	"maps"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// move writes what a migration changes beside the instance: whose word counts as its guest's, and which host has nothing of it any more.
func (p *Plan) move() error {
	key := etcdschema.AgentKey(p.Before.ID)
	if op := p.d.Instance.Operation; op != nil && op.Former != nil && op.Former.Agent.ID == "" {
		agent, err := etcdschema.Read(p.Snap, key)
		if err != nil {
			return err
		}
		now, former := *op, *op.Former
		former.Agent = agent.Value
		now.Former, p.d.Instance.Operation = &former, &now
	}
	if p.d.Agent != nil {
		p.Put(etcdschema.Put(key, *p.d.Agent), etcdschema.Delete(etcdschema.PresenceKey(p.Before.ID)))
	}
	if lifecycle.Arriving(p.Before.Instance) && !lifecycle.Arriving(p.d.Instance) { // the host lets clients in, or does not know which by now
		told, err := p.signer.Protect(p.d.Instance, p.now)
		if err != nil {
			return err
		}
		p.Put(told)
	}
	for _, left := range p.d.Left {
		if err := p.leave(left.Host, left.Instance); err != nil {
			return err
		}
	}
	return nil
}

// leave has a host remove what it has of an instance, whenever it can. Until it has done so the room counts as taken, and so does the
// address.
func (p *Plan) leave(host, instance string) error {
	key := etcdschema.HostKey(host)
	rec, err := etcdschema.Read(p.Snap, key)
	if err != nil {
		return err
	}
	if _, has := rec.Value.Allocated[instance]; !rec.Found || !has {
		return nil
	}
	ops, err := p.signer.Leave(&rec.Value, host, instance, p.now)
	p.Snap = etcdschema.With(p.Snap, key, rec.Value)
	p.Put(append(ops, etcdschema.Put(key, rec.Value))...)
	return err
}

// Leave makes the command that has a host remove what it has of an instance that is elsewhere, or nowhere. The host's record, which the
// caller writes, remembers it.
func (s Signer) Leave(h *etcdschema.HostRecord, host, instance string, now time.Time) ([]etcdschema.Op, error) {
	had := h.Allocated[instance]
	cmd := etcdschema.Command{
		Command: agentpoll.Command{ID: NewID(), Method: deployments.MethodRemove, Deadline: now.Add(keepEvents)},
		Project: had.Project, Instance: instance, Enqueued: now,
	}
	var err error
	if cmd.Args, err = json.Marshal(deployments.RemoveArgs{InstanceID: instance}); err != nil {
		return nil, err
	}
	had.Left = cmd.ID
	h.Allocated = maps.Clone(h.Allocated)
	h.Allocated[instance] = had
	return []etcdschema.Op{s.Command(host, cmd)}, nil
}

// Removed gives back what an instance had of a host that it has left, when the host has removed it.
func Removed(s etcdschema.Snapshot, host string, cmd etcdschema.Command) ([]etcdschema.Op, error) {
	key := etcdschema.HostKey(host)
	rec, err := etcdschema.Read(s, key)
	if err != nil || rec.Value.Allocated[cmd.Instance].Left != cmd.ID {
		return nil, err
	}
	rec.Value.Allocated = maps.Clone(rec.Value.Allocated)
	delete(rec.Value.Allocated, cmd.Instance)
	return []etcdschema.Op{etcdschema.Put(key, rec.Value)}, nil
}
