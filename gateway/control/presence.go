package control

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// Contact is what is known of an agent's polls.
type Contact struct {
	Connected bool
	Since     time.Time // since when it is connected, or not; zero: nothing is known
	Locked    string    // why the agent is refused; "": it is not
	Last      time.Time // when it was last heard of, as far as this gateway can know; zero: never
}

// Contact reports whether an agent is there, why it is refused, and when it was last heard of.
func (cp *Plane) Contact(ctx context.Context, agent string) (seen Contact, err error) {
	_, err = cp.Store.Look(ctx, 0, []etcdschema.Ref{etcdschema.PresenceKey(agent), etcdschema.AgentKey(agent)}, func(s etcdschema.Snapshot) error {
		held, since, err := holder(s, agent)
		if err != nil {
			return err
		}
		rec, err := etcdschema.Read(s, etcdschema.AgentKey(agent))
		seen = Contact{Connected: rec.Value.Locked == "" && (held || cp.Polls.Holds(agent)), Locked: rec.Value.Locked, Since: since, Last: since}
		return err
	})
	if at, ok := cp.Polls.LastContact(agent); ok {
		seen.Last = at
	}
	return seen, err
}

// holder reports whether a gateway that runs holds an agent's poll, and since when that is so, or not; zero: nothing is known.
func holder(s etcdschema.Snapshot, agent string) (held bool, since time.Time, err error) {
	rec, err := etcdschema.Read(s, etcdschema.PresenceKey(agent))
	if err != nil || rec.Value.Gateway == "" {
		return false, rec.Value.Since, err
	}
	polls, err := etcdschema.Read(s, etcdschema.GatewayPollsKey(rec.Value.Gateway))
	if err != nil || polls.Found {
		return polls.Value.Left.IsZero(), cmp.Or(polls.Value.Left, rec.Value.Since), err
	}
	// It left long ago, or is of an earlier release.
	running, err := etcdschema.Read(s, etcdschema.GatewayKey(rec.Value.Gateway))
	return running.Found, rec.Value.Since, err
}

// settle is how long it may take until a gateway that holds an agent contradicts one that lost it.
const settle = 2 * time.Second

// away reports whether an agent cannot be asked, and since when; zero: longer than anybody knows. It says so when nobody has held the agent's
// poll for one full expiry in which agents had a gateway to come to. All of that stands in etcd, and every gateway says the same.
func (cp *Plane) away(s etcdschema.Snapshot, agent string) (is bool, since time.Time, err error) {
	if cp.Polls.Holds(agent) {
		return false, since, nil
	}
	held, since, err := holder(s, agent)
	if err != nil || held {
		return false, since, err
	}
	opened, err := etcdschema.Read(s, etcdschema.OpenedKey())
	if err != nil {
		return false, since, err
	}
	presence, err := etcdschema.Read(s, etcdschema.PresenceKey(agent))
	now := cp.Now()
	switch {
	case now.Before(since.Add(cp.Expiry)), now.Before(opened.Value.At.Add(cp.Expiry)):
		return false, since, err
	case now.Before(presence.Value.Judged.Add(settle)): // another gateway may hold it, and is about to say so
		return false, since, err
	}
	return true, since, err
}

// gone are the members of a set whose guests are away, since when.
func (cp *Plane) gone(s etcdschema.Snapshot, set etcdschema.Set) (map[string]time.Time, error) {
	gone := map[string]time.Time{}
	for _, m := range set.Members {
		is, since, err := cp.away(s, m.ID)
		if err != nil {
			return nil, err
		}
		if is {
			gone[m.ID] = since
		}
	}
	return gone, nil
}

// reachable refuses what an agent would have to do at once while it is away.
func (cp *Plane) reachable(s etcdschema.Snapshot, agent string) error {
	is, since, err := cp.away(s, agent)
	if err != nil || !is {
		return err
	}
	return &fault.Error{Kind: fault.Unavailable, Message: "The guest is not connected" + cp.forHowLong(since) + ". Nothing was sent to it.", RetryAfter: 30 * time.Second}
}

func (cp *Plane) forHowLong(since time.Time) string {
	if since.IsZero() {
		return fmt.Sprintf(", for at least %s", cp.Expiry)
	}
	return " since " + Stamp(since)
}

// Absent is the Failed of an instance that is shown as one whose guest is gone. It is never stored: when the guest is back the
// instance is as it was.
const Absent = "absent"

// Observed returns instances as clients should see them: one that was well when its guest was last heard of, too long ago, is in
// ERROR, for that reason. That this gateway cannot read who is there says nothing about anybody.
func (cp *Plane) Observed(ctx context.Context, list ...lifecycle.Member) []lifecycle.Member {
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
	var seen []lifecycle.Member
	_, err := cp.Store.Look(ctx, 0, refs, func(s etcdschema.Snapshot) (err error) {
		seen = make([]lifecycle.Member, len(list))
		for i, in := range list {
			if seen[i], err = cp.judged(s, in); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		cp.Log.Warn("cannot read which guests are connected", "err", err)
		return list
	}
	return seen
}

// Shown reads an instance as its project should see it, see Observed: in one read, unless it is in a set, or its guest speaks to another
// gateway. What refs name is read with it, for also, which may be called again.
func (cp *Plane) Shown(ctx context.Context, c Caller, id string, refs []etcdschema.Ref, also func(etcdschema.Snapshot) error) (m lifecycle.Member, err error) {
	key := etcdschema.InstanceKey(c.Project, id)
	refs = append(refs, key)
	if !cp.Polls.Holds(id) {
		refs = append(refs, etcdschema.PresenceKey(id), etcdschema.OpenedKey())
	}
	_, err = cp.Store.Look(ctx, 0, refs, func(s etcdschema.Snapshot) error {
		if m, err = memberAt(s, key, id); err == nil {
			m, err = cp.judged(s, m)
		}
		return cmp.Or(err, also(s))
	})
	return m, instanceError(err, id)
}

// doubtful reports whether an instance is said to be well.
func doubtful(in lifecycle.Member) bool { return lifecycle.Status(in) == lifecycle.StatusActive }

func (cp *Plane) judged(s etcdschema.Snapshot, in lifecycle.Member) (lifecycle.Member, error) {
	if !doubtful(in) || cp.Polls.Holds(in.ID) {
		return in, nil
	}
	is, since, err := cp.away(s, in.ID)
	if err != nil || !is {
		return in, err
	}
	message := "The guest is not connected" + cp.forHowLong(since) + "; whether the database server runs is not known."
	if in.Host != "" {
		hostToo, _, err := cp.away(s, in.Host)
		if err != nil {
			return in, err
		}
		if hostToo {
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
