package agents

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/server"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/plan"
)

const (
	// retiredGrace is how long a credential may still be shown after the next one was used: by calls that were under way.
	retiredGrace = time.Minute
	// rotatePause is between two rotations, and maxRetired how many of the past are known: a thief who rotates as often as that is
	// found out by the agent that is shut out, whose next try comes sooner.
	rotatePause = 10 * time.Minute
	maxRetired  = 8
)

// Authenticate checks a credential against the agent's record. The first use of a rotated credential retires the old. A retired one that
// is shown again later says that two machines hold the identity: then neither may go on.
func (be *Backend) Authenticate(ctx context.Context, c agentpoll.Credential) error {
	if !etcdschema.ValidID(c.AgentID) {
		return server.ErrUnauthorized
	}
	key := etcdschema.AgentKey(c.AgentID)
	locked := false
	var public []byte
	_, err := be.control.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		locked = false
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		agent, now := rec.Value, be.control.Now().UTC()
		public = agent.PublicKey
		retired := slices.IndexFunc(agent.Retired, func(r etcdschema.RetiredCredential) bool { return c.Matches(r.Hash) })
		switch {
		case !rec.Found:
			return nil, server.ErrUnauthorized
		case c.Matches(agent.CredentialHash):
		case agent.NextHash != "" && c.Matches(agent.NextHash):
			agent.Retired = append(agent.Retired, etcdschema.RetiredCredential{Hash: agent.CredentialHash, Sequence: agent.Sequence, At: now})
			agent.Retired = agent.Retired[max(0, len(agent.Retired)-maxRetired):]
			agent.CredentialHash, agent.NextHash = agent.NextHash, ""
			agent.CAs, agent.NextCAs = agent.NextCAs, nil
			agent.Sequence++
		case retired >= 0 && agent.Locked == "" && now.After(agent.Retired[retired].At.Add(retiredGrace)):
			locked = true
			return be.lock(s, agent, fmt.Sprintf("credential number %d was used again after number %d was in use", agent.Retired[retired].Sequence, agent.Sequence))
		case retired >= 0 && agent.Locked != "":
		default:
			return nil, server.ErrUnauthorized
		}
		switch {
		case agent.Locked != "":
			return nil, server.ErrLocked
		case agent.CredentialHash == rec.Value.CredentialHash: // no rotation: thousands of agents come at once, and nothing is encoded for them
			return nil, nil
		}
		return []etcdschema.Op{etcdschema.Put(key, agent)}, nil
	})
	if err == nil && locked {
		be.tellLocked(c.AgentID)
		err = server.ErrLocked
	}
	if err == nil {
		be.control.Signer.Knows(c.AgentID, public)
	}
	return err
}

// lock locks an agent, and says so in the timeline of its instance.
func (be *Backend) lock(s etcdschema.Snapshot, agent etcdschema.Agent, why string) ([]etcdschema.Op, error) {
	agent.Locked = why
	ops := []etcdschema.Op{etcdschema.Put(etcdschema.AgentKey(agent.ID), agent)}
	told, err := be.control.TellOfAgent(s, agent, "fault", "The guest is locked out: two machines used its identity ("+why+"). An operator has to find the copy.", "")
	return append(ops, told...), err
}

func (be *Backend) tellLocked(agentID string) {
	be.locks.Add(1)
	be.control.Log.Error("agent locked: two machines use its identity; unlock it once the copy is gone", "agent_id", agentID)
}

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Enroll turns a token into an agent, and lets the life cycle go on for a guest, in one transaction.
func (be *Backend) Enroll(ctx context.Context, req agentpoll.EnrollRequest) (agentpoll.EnrollReply, error) {
	var reply agentpoll.EnrollReply
	if !sha256Hex.MatchString(req.CredentialHash) || len(req.PublicKey) != 32 {
		return reply, agentpoll.Errorf(agentpoll.Invalid, "credential_hash must be 64 hexadecimal digits and public_key 32 bytes")
	}
	if len(req.Version) > limits.MaxWord {
		return reply, tooLong("version", limits.MaxWord)
	}
	token, err := agentpoll.ParseToken(req.Token) // an agent that does not know its parts sends all of it
	if err != nil {
		return reply, server.ErrUnauthorized
	}
	key := etcdschema.EnrolmentKey(agentpoll.HashSecret(token.Secret))
	_, err = be.control.Commit(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) (m plan.Moves, err error) {
		reply = agentpoll.EnrollReply{}
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return m, err
		}
		e := rec.Value
		used := e.CredentialHash != ""
		switch {
		case !rec.Found, used && e.CredentialHash != req.CredentialHash:
			return m, server.ErrUnauthorized
		case e.Kind != req.Kind:
			return m, agentpoll.Errorf(agentpoll.Invalid, "the token enrols a %s, not a %s", e.Kind, req.Kind)
		}
		reply.AgentID = e.AgentID
		if req.Kind == agentpoll.Guest {
			options, err := etcdschema.Read(s, etcdschema.InstanceGuestKey(e.AgentID))
			if err != nil {
				return m, err
			}
			reply.Options = options.Value
		}
		if used {
			return m, nil
		}
		e.CredentialHash = req.CredentialHash
		agent := etcdschema.Agent{
			ID: e.AgentID, Kind: e.Kind, Project: e.Project, CredentialHash: req.CredentialHash, Sequence: 1,
			PublicKey: req.PublicKey, Version: req.Version, Enrolled: be.control.Now().UTC(), CAs: be.control.Signer.CAs,
		}
		ops := []etcdschema.Op{etcdschema.Put(key, e).For(plan.KeepEnrolments), etcdschema.Put(etcdschema.AgentKey(e.AgentID), agent)}
		if req.Kind == agentpoll.Guest {
			m, err = be.guestEnrolled(s, agent, e)
		} else {
			m.Ops, err = be.hostAnnounced(s, e.AgentID, req.Manifest, e.Granted)
		}
		if err != nil {
			return m, err
		}
		seen, err := be.heardOf(s, e.AgentID)
		m.Ops = slices.Concat(ops, m.Ops, seen)
		return m, err
	})
	if err == nil {
		reply.Trust = be.control.Trust(ctx, reply.AgentID)
	}
	return reply, err
}

// heardOf records that an agent of which nothing is known was heard of just now: it counts as there until it has had the time to
// poll.
func (be *Backend) heardOf(s etcdschema.Snapshot, agent string) ([]etcdschema.Op, error) {
	key := etcdschema.PresenceKey(agent)
	rec, err := etcdschema.Read(s, key)
	if err != nil || rec.Found {
		return nil, err
	}
	return []etcdschema.Op{etcdschema.Put(key, etcdschema.Presence{Since: be.control.Now().UTC()})}, nil
}

func (be *Backend) guestEnrolled(s etcdschema.Snapshot, agent etcdschema.Agent, e etcdschema.Enrolment) (plan.Moves, error) {
	rec, err := etcdschema.Read(s, etcdschema.InstanceKey(agent.Project, agent.ID))
	if err != nil {
		return plan.Moves{}, err
	}
	if !rec.Found || !e.Migration.IsZero() && !lifecycle.Awaits(rec.Value, e.Migration) {
		return plan.Moves{}, server.ErrUnauthorized // deleted meanwhile, or back where it was before a migration that failed
	}
	m, err := plan.MemberOf(s, rec.Value)
	if err != nil {
		return plan.Moves{}, err
	}
	return be.control.Plan(etcdschema.With(s, etcdschema.AgentKey(agent.ID), agent), m, lifecycle.Event{Type: lifecycle.Enrolled}).Decide()
}

// hostAnnounced takes what a host says of itself, up to what it was granted: by the operator with its enrolment, else by its first words.
// A host that was taken over cannot draw instances to it by boasting, nor take other addresses.
func (be *Backend) hostAnnounced(s etcdschema.Snapshot, id string, raw json.RawMessage, granted *etcdschema.HostGrant) ([]etcdschema.Op, error) {
	if len(raw) > limits.MaxAnnouncement {
		return nil, tooLong("announcement", limits.MaxAnnouncement)
	}
	var a deployments.Announcement
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, agentpoll.Errorf(agentpoll.Invalid, "the announcement cannot be read: %v", err)
	}
	if problems := a.Problems(); len(problems) > 0 {
		return nil, agentpoll.Errorf(agentpoll.Invalid, "the announcement is not valid: %v", problems)
	}
	key := etcdschema.HostKey(id)
	rec, err := etcdschema.Read(s, key)
	if err != nil {
		return nil, err
	}
	host := rec.Value
	if granted != nil {
		host.Granted = granted
	}
	if host.Granted == nil {
		host.Granted = &etcdschema.HostGrant{Capacity: a.Capacity, Pool: a.Pool}
	}
	if a, err = withinGrant(a, *host.Granted); err != nil {
		return nil, err
	}
	host.Machine = a.Machine
	again, err := be.leaveAgain(s, id, &host)
	if err != nil {
		return nil, err
	}
	if !rec.Found {
		host.Place = a.Place
		host.Enrolled = be.control.Now().UTC()
	}
	checkKey := etcdschema.HostCheckKey(id)
	check, err := etcdschema.Read(s, checkKey)
	if err != nil {
		return nil, err
	}
	check.Value.Offer, check.Value.Said = a.Offer, a.Place
	return append(again, etcdschema.Put(key, host), etcdschema.Put(checkKey, check.Value)), nil
}

// leaveAgain asks a host again for what it could not remove.
func (be *Backend) leaveAgain(s etcdschema.Snapshot, id string, host *etcdschema.HostRecord) (ops []etcdschema.Op, err error) {
	for _, instance := range slices.Sorted(maps.Keys(host.Allocated)) {
		left := host.Allocated[instance].Left
		if left == "" {
			continue
		}
		pending, err := etcdschema.Read(s, etcdschema.CommandKey(id, left))
		if err != nil {
			return nil, err
		}
		if pending.Found {
			continue
		}
		asked, err := be.control.Signer.Leave(host, id, instance, be.control.Now().UTC())
		if err != nil {
			return nil, err
		}
		ops = append(ops, asked...)
	}
	return ops, nil
}

// withinGrant is an announcement with no more than was granted. A pool that does not lie in the granted one is refused.
func withinGrant(a deployments.Announcement, grant etcdschema.HostGrant) (deployments.Announcement, error) {
	for _, n := range []struct {
		says *int
		most int
	}{{&a.Capacity.MemoryMB, grant.Capacity.MemoryMB}, {&a.Capacity.VCPUs, grant.Capacity.VCPUs}, {&a.Capacity.DiskGB, grant.Capacity.DiskGB}} {
		if n.most > 0 {
			*n.says = min(*n.says, n.most)
		}
	}
	if !grant.Pool.IsZero() && !a.Pool.Within(grant.Pool) {
		return a, agentpoll.Errorf(agentpoll.Invalid, "the address pool %s does not lie in %s, which this host was granted: enrol it anew with another grant", a.Pool, grant.Pool)
	}
	return a, nil
}

// Rotate takes a new credential beside the one in use. A sequence number from the past means that somebody copied the
// agent: then neither may go on.
func (be *Backend) Rotate(ctx context.Context, agentID string, req agentpoll.RotateRequest) (agentpoll.RotateReply, error) {
	if !sha256Hex.MatchString(req.CredentialHash) {
		return agentpoll.RotateReply{}, agentpoll.Errorf(agentpoll.Invalid, "credential_hash must be 64 hexadecimal digits")
	}
	key := etcdschema.AgentKey(agentID)
	var sequence int64
	locked := false
	_, err := be.control.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		agent, err := fault.Found(rec, err, "Agent", agentID)
		if err != nil {
			return nil, err
		}
		sequence, locked = agent.Sequence+1, req.Sequence < agent.Sequence
		if locked {
			return be.lock(s, agent, fmt.Sprintf("a credential numbered %d was rotated after number %d was in use", req.Sequence, agent.Sequence))
		}
		if n := len(agent.Retired); n > 0 && be.control.Now().Before(agent.Retired[n-1].At.Add(rotatePause)) {
			return nil, agentpoll.Errorf(agentpoll.Unavailable, "the credential was rotated less than %s ago", rotatePause)
		}
		agent.NextHash, agent.NextCAs = req.CredentialHash, be.control.Signer.CAs
		return []etcdschema.Op{etcdschema.Put(key, agent)}, nil
	})
	if err == nil && locked {
		be.tellLocked(agentID)
		err = server.ErrLocked
	}
	if err != nil {
		return agentpoll.RotateReply{}, err
	}
	return agentpoll.RotateReply{Sequence: sequence, Trust: be.control.Trust(ctx, agentID)}, nil
}
