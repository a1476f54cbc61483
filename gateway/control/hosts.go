package control

import (
	"cmp"
	"context"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/plan"
)

// TellOfAgent says something of a guest in the timeline of its instance; of another agent nobody is told.
func (cp *Plane) TellOfAgent(s etcdschema.Snapshot, agent etcdschema.Agent, kind, message, request string) ([]etcdschema.Op, error) {
	if agent.Kind != agentpoll.Guest {
		return nil, nil
	}
	key := etcdschema.InstanceKey(agent.Project, agent.ID)
	rec, err := etcdschema.Read(s, key)
	if err != nil || !rec.Found {
		return nil, err
	}
	ops := plan.Tell(&rec.Value, etcdschema.Event{At: cp.Now().UTC(), Kind: kind, Message: message, Request: request})
	return append(ops, etcdschema.Put(key, rec.Value)), nil
}

// HostChange is what an operator says of a host; nil: as it is.
type HostChange struct {
	Disabled *bool              `json:"disabled"` // takes no new instances
	Zone     *string            `json:"availability_zone"`
	Labels   *datastores.Labels `json:"labels"` // all of them
}

// ChangeHost takes an operator's word for a host. Instances that are there stay.
func (cp *Plane) ChangeHost(ctx context.Context, id string, change HostChange) error {
	if change == (HostChange{}) {
		return fault.Errorf(fault.BadRequest, "Validation error: host must have disabled, availability_zone or labels.")
	}
	key := etcdschema.HostKey(id)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		host, err := fault.Found(rec, err, "Host", id)
		if err != nil {
			return nil, err
		}
		if change.Disabled != nil {
			host.Disabled = *change.Disabled
		}
		if change.Zone != nil {
			host.Zone = *change.Zone
		}
		if change.Labels != nil {
			host.Labels = *change.Labels
		}
		if problems := host.Place.Mistakes(); len(problems) > 0 {
			return nil, fault.Errorf(fault.BadRequest, "Validation error: host.%v.", problems[0])
		}
		return []etcdschema.Op{etcdschema.Put(key, host)}, nil
	})
	return err
}

// ForgetHost deletes a host that has no instances. Its agent is refused from then on.
func (cp *Plane) ForgetHost(ctx context.Context, id string) error {
	key := etcdschema.HostKey(id)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		host, err := fault.Found(rec, err, "Host", id)
		if err != nil {
			return nil, err
		}
		there := 0
		for _, a := range host.Allocated {
			if a.Left == "" { // else it is elsewhere, and only what it had here waits to be removed
				there++
			}
		}
		if n := there; n > 0 {
			return nil, fault.Errorf(fault.Unprocessable, "Host %s still has %d instances; delete them first.", id, n)
		}
		return []etcdschema.Op{
			etcdschema.Delete(key), etcdschema.Delete(etcdschema.AgentKey(id)), etcdschema.Delete(etcdschema.PresenceKey(id)),
			etcdschema.Delete(etcdschema.HostCheckKey(id)),
			etcdschema.DeleteAll(etcdschema.Commands(id)),
			etcdschema.Delete(etcdschema.AuditKey(id)), etcdschema.DeleteAll(etcdschema.AllAuditRows(id)),
		}, nil
	})
	return err
}

// HostEnrolment lets a machine enrol as a host.
type HostEnrolment struct {
	Token   agentpoll.Token
	ID      string // of the host
	Expires time.Time
}

// EnrolHost makes a single-use token for a host: a new one, or with its old id one that enrols anew. granted is what it may give at
// most; nil: what it says first.
func (cp *Plane) EnrolHost(ctx context.Context, old string, granted *etcdschema.HostGrant) (HostEnrolment, error) {
	now := cp.Now().UTC()
	made := HostEnrolment{Token: cp.Signer.NewToken(), ID: cmp.Or(old, plan.NewID()), Expires: now.Add(plan.KeepEnrolments)}
	if old != "" {
		_, err := etcdschema.Get(ctx, cp.Store, etcdschema.HostKey(old))
		if fault.IsNotFound(err) {
			err = fault.NotFound("Host", old)
		}
		if err != nil {
			return made, err
		}
	}
	if pending, err := etcdschema.Count(ctx, cp.Store, etcdschema.Enrolments()); err != nil {
		return made, err
	} else if !cp.Limits.Within("enrolments", int64(pending)+1) {
		return made, limits.Over("enrolments", fault.OverLimit, "There are %d enrolment tokens already; they end after an hour.", pending)
	}
	_, err := cp.Store.Update(ctx, nil, func(etcdschema.Snapshot) ([]etcdschema.Op, error) {
		e := etcdschema.Enrolment{Kind: agentpoll.Host, AgentID: made.ID, Created: now, Granted: granted}
		return []etcdschema.Op{plan.EnrolmentOp(made.Token, e, plan.KeepEnrolments)}, nil
	})
	return made, err
}

// Unlock ends the lock of an agent whose identity was used twice; the operator has seen to the copy. Whichever of the last two
// credentials is shown next goes on, and ends the other.
func (cp *Plane) Unlock(ctx context.Context, c Caller, id string) error {
	key := etcdschema.AgentKey(id)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		agent, err := fault.Found(rec, err, "Agent", id)
		if err != nil {
			return nil, err
		}
		was := agent.Locked
		if n := len(agent.Retired); n > 0 && agent.Locked != "" {
			agent.NextHash, agent.Sequence, agent.Retired = agent.Retired[n-1].Hash, agent.Retired[n-1].Sequence-1, nil
		}
		agent.Locked = ""
		ops := []etcdschema.Op{etcdschema.Put(key, agent)}
		if was == "" {
			return ops, nil
		}
		told, err := cp.TellOfAgent(s, agent, "note", "An operator has ended the guest's lock. The first to show one of its last two credentials goes on, and nobody else.", c.Request)
		return append(ops, told...), err
	})
	return err
}
