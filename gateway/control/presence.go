package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// Contact is what is known of an agent's polls.
type Contact struct {
	Connected bool
	Locked    string    // why the agent is refused; "": it is not
	Last      time.Time // when it was last heard of, as far as this gateway can know; zero: never
}

// Contact reports whether an agent is there, why it is refused, and when it was last heard of.
func (cp *Plane) Contact(ctx context.Context, agent string) (seen Contact, err error) {
	presence, err := etcdschema.Get(ctx, cp.Store, etcdschema.PresenceKey(agent))
	if err != nil && !errors.Is(err, etcdschema.ErrNotFound) {
		return seen, err
	}
	if rec, err := etcdschema.Get(ctx, cp.Store, etcdschema.AgentKey(agent)); err == nil {
		seen.Locked = rec.Value.Locked
	} else if !errors.Is(err, etcdschema.ErrNotFound) {
		return seen, err
	}
	seen.Connected = seen.Locked == "" && (cp.Polls.Holds(agent) || presence.Found && presence.Value.Gateway != "")
	if at, ok := cp.Polls.LastContact(agent); ok {
		seen.Last = at
	} else if presence.Found {
		seen.Last = presence.Value.Since
	}
	return seen, nil
}

// settle is how long it may take until a gateway that holds an agent contradicts one that lost it.
const settle = 2 * time.Second

// reachable judges by its presence whether an agent can be asked. Nobody is judged before one full expiry has passed since
// this gateway started, or since another one took its agents' presence with it: they may not have had the time to come back.
func (cp *Plane) reachable(agentID string, presence etcdschema.Record[etcdschema.Presence]) error {
	switch {
	case cp.Polls.Holds(agentID):
		return nil
	case presence.Found && presence.Value.Gateway != "":
		return nil
	case cp.Now().Before(presence.Value.Since.Add(cp.Expiry)): // as one that has just enrolled
		return nil
	case cp.Now().Before(presence.Value.Judged.Add(settle)): // another gateway may hold it, and is about to say so
		return nil
	case presence.Found && !cp.Now().Before(cp.Started.Add(cp.Expiry)):
		return &fault.Error{Kind: fault.Unavailable, Message: fmt.Sprintf("The guest is not connected since %s. Nothing was sent to it.", Stamp(presence.Value.Since)), RetryAfter: 30 * time.Second}
	case cp.Now().Before(cp.Started.Add(cp.Expiry)), cp.Now().Before(time.Unix(0, cp.left.Load()).Add(cp.Expiry)):
		return nil
	}
	return &fault.Error{Kind: fault.Unavailable, Message: fmt.Sprintf("The guest is not connected, for at least %s. Nothing was sent to it.", cp.Expiry), RetryAfter: 30 * time.Second}
}

// canBeAsked refuses what the guest would have to do at once while it is away.
func (cp *Plane) canBeAsked(s etcdschema.Snapshot, in etcdschema.Instance) error {
	presence, err := etcdschema.Read(s, etcdschema.PresenceKey(in.ID))
	if err != nil {
		return err
	}
	return cp.reachable(in.ID, presence)
}

// Absent is the Failed of an instance that is shown as one whose guest is gone. It is never stored: when the guest is back the
// instance is as it was.
const Absent = "absent"

// Observed returns instances as clients should see them: one that was well when its guest was last heard of, too long ago, is in
// ERROR, for that reason. That this gateway cannot read who is there says nothing about anybody.
func (cp *Plane) Observed(ctx context.Context, list ...etcdschema.Instance) []etcdschema.Instance {
	var refs []etcdschema.Ref
	for _, in := range list {
		if doubtful(in) && !cp.Polls.Holds(in.ID) {
			refs = append(refs, etcdschema.PresenceKey(in.ID))
			if in.Host != "" {
				refs = append(refs, etcdschema.PresenceKey(in.Host))
			}
		}
	}
	if len(refs) == 0 {
		return list
	}
	var seen []etcdschema.Instance
	_, err := cp.Store.Update(ctx, refs, func(s etcdschema.Snapshot) (ops []etcdschema.Op, err error) {
		seen = make([]etcdschema.Instance, len(list))
		for i, in := range list {
			if seen[i], err = cp.judged(s, in); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	if err != nil {
		cp.Log.Warn("cannot read which guests are connected", "err", err)
		return list
	}
	return seen
}

// doubtful reports whether an instance is said to be well.
func doubtful(in etcdschema.Instance) bool { return lifecycle.Status(in) == lifecycle.StatusActive }

func (cp *Plane) judged(s etcdschema.Snapshot, in etcdschema.Instance) (etcdschema.Instance, error) {
	if !doubtful(in) || cp.Polls.Holds(in.ID) {
		return in, nil
	}
	presence, err := etcdschema.Read(s, etcdschema.PresenceKey(in.ID))
	if err != nil || cp.reachable(in.ID, presence) == nil {
		return in, err
	}
	since := presence.Value.Since
	message := fmt.Sprintf("The guest is not connected for at least %s; whether the database server runs is not known.", cp.Expiry)
	if !since.IsZero() {
		message = fmt.Sprintf("The guest is not connected since %s; whether the database server runs is not known.", Stamp(since))
	}
	if in.Host != "" {
		host, err := etcdschema.Read(s, etcdschema.PresenceKey(in.Host))
		if err != nil {
			return in, err
		}
		if cp.reachable(in.Host, host) != nil {
			message += " Its host is not connected either."
		}
	}
	in.Failed = Absent
	in.Fault = &etcdschema.Fault{Message: message, Created: since}
	if since.IsZero() {
		in.Fault.Created = cmp.Or(in.ServiceReported, in.Updated)
	}
	return in, nil
}

// Vanished notes that an agent's presence has gone with its gateway: for a while nobody is judged absent, since such agents need the time
// to come back.
func (cp *Plane) Vanished() { cp.left.Store(cp.Now().UnixNano()) }
