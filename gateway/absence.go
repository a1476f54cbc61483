package gateway

import (
	"cmp"
	"context"
	"fmt"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// absent is the Failed of an instance that is shown as one whose guest is gone. It is never stored: when the guest is back the
// instance is as it was.
const absent = "absent"

// observed returns instances as clients should see them: one that was well when its guest was last heard of, too long ago, is in
// ERROR, for that reason. That this gateway cannot read who is there says nothing about anybody.
func (g *Gateway) observed(ctx context.Context, list ...etcdschema.Instance) []etcdschema.Instance {
	var refs []etcdschema.Ref
	for _, in := range list {
		if doubtful(in) && !g.agents.Holds(in.ID) {
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
	_, err := g.store.Update(ctx, refs, func(s etcdschema.Snapshot) (ops []etcdschema.Op, err error) {
		seen = make([]etcdschema.Instance, len(list))
		for i, in := range list {
			if seen[i], err = g.judged(s, in); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	if err != nil {
		g.log.Warn("cannot read which guests are connected", "err", err)
		return list
	}
	return seen
}

// doubtful reports whether an instance is said to be well.
func doubtful(in etcdschema.Instance) bool { return lifecycle.Status(in) == lifecycle.StatusActive }

func (g *Gateway) judged(s etcdschema.Snapshot, in etcdschema.Instance) (etcdschema.Instance, error) {
	if !doubtful(in) || g.agents.Holds(in.ID) {
		return in, nil
	}
	presence, err := etcdschema.Read(s, etcdschema.PresenceKey(in.ID))
	if err != nil || g.reachable(in.ID, presence) == nil {
		return in, err
	}
	since := presence.Value.Since
	message := fmt.Sprintf("The guest is not connected for at least %s; whether the database server runs is not known.", g.Expiry)
	if !since.IsZero() {
		message = fmt.Sprintf("The guest is not connected since %s; whether the database server runs is not known.", stamp(since))
	}
	if in.Host != "" {
		host, err := etcdschema.Read(s, etcdschema.PresenceKey(in.Host))
		if err != nil {
			return in, err
		}
		if g.reachable(in.Host, host) != nil {
			message += " Its host is not connected either."
		}
	}
	in.Failed = absent
	in.Fault = &etcdschema.Fault{Message: message, Created: since}
	if since.IsZero() {
		in.Fault.Created = cmp.Or(in.ServiceReported, in.Updated)
	}
	return in, nil
}
