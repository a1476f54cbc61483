package agents

import (
	"context"
	"errors"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
)

// keepLeft is how long etcd remembers since when a gateway is gone.
const keepLeft = 30 * 24 * time.Hour

// errUnannounced is the error of a gateway that may not say yet that it holds polls.
var errUnannounced = errors.New("etcd does not know of this gateway yet; try again")

// Announce writes that this gateway runs, until its session ends, and that what it says of polls is worth something. When it finds itself
// alone, agents had no way to call until now.
func (be *Backend) Announce(ctx context.Context, record etcdschema.Gateway) error {
	running, err := etcdschema.List(ctx, be.control.Store, etcdschema.Gateways(), etcdschema.Page{})
	if err != nil {
		return err
	}
	alone := true
	for _, rec := range running.Records {
		alone = alone && etcdschema.Gateways().Name(rec.Key) == be.id
	}
	_, err = be.control.Store.Update(ctx, []etcdschema.Ref{etcdschema.OpenedKey()}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		opened, err := etcdschema.Read(s, etcdschema.OpenedKey())
		ops := []etcdschema.Op{
			etcdschema.Put(etcdschema.GatewayKey(be.id), record).On(be.session),
			etcdschema.Put(etcdschema.GatewayPollsKey(be.id), etcdschema.GatewayPolls{}),
		}
		if alone || !opened.Found {
			ops = append(ops, etcdschema.Put(etcdschema.OpenedKey(), etcdschema.Opened{At: be.control.Now().UTC()}))
		}
		return ops, err
	})
	return err
}

// WatchGateways puts down since when gateways are gone, until ctx ends: whoever sees it first, or is the first to start.
func (be *Backend) WatchGateways(ctx context.Context) error {
	return be.control.Store.Watch(ctx, etcdschema.Gateways().String(), func(b etcdschema.Batch) {
		gone := b.Resync
		for _, c := range b.Changes {
			gone = gone || c.Value == nil
		}
		if gone {
			be.control.Go(be.noteLeft)
		}
	})
}

// noteEvery is how long a gateway waits that could not put down who has left.
const noteEvery = time.Second

// noteLeft puts down since when those gateways are gone of which nobody has done so.
func (be *Backend) noteLeft(ctx context.Context) {
	for ctx.Err() == nil {
		err := be.noteLeftOnce(ctx)
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			be.control.Log.Warn("cannot put down which gateways have left; trying again", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(noteEvery):
		}
	}
}

func (be *Backend) noteLeftOnce(ctx context.Context) error {
	polls, err := etcdschema.List(ctx, be.control.Store, etcdschema.AllGatewayPolls(), etcdschema.Page{})
	if err != nil {
		return err
	}
	for _, rec := range polls.Records {
		if !rec.Value.Left.IsZero() {
			continue
		}
		id := etcdschema.AllGatewayPolls().Name(rec.Key)
		runs, polls := etcdschema.GatewayKey(id), etcdschema.GatewayPollsKey(id)
		_, err := be.control.Store.Update(ctx, []etcdschema.Ref{runs, polls}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
			running, err := etcdschema.Read(s, runs)
			if err != nil || running.Found {
				return nil, err
			}
			rec, err := etcdschema.Read(s, polls)
			if err != nil || !rec.Found || !rec.Value.Left.IsZero() {
				return nil, err
			}
			return []etcdschema.Op{etcdschema.Put(polls, etcdschema.GatewayPolls{Left: be.control.Now().UTC()}).For(keepLeft)}, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// lookForLeft reads which gateways may have left while the watch was away.
func (be *Backend) lookForLeft(ctx context.Context) {
	polls, err := etcdschema.List(ctx, be.control.Store, etcdschema.AllGatewayPolls(), etcdschema.Page{})
	if err != nil {
		return // the watch will fail, too
	}
	var left []string
	for _, rec := range polls.Records {
		if !rec.Value.Left.IsZero() {
			left = append(left, etcdschema.AllGatewayPolls().Name(rec.Key))
		}
	}
	be.agents.Left(left...)
}

// reopen gives agents whose presence has vanished the time to come back: a gateway of an earlier release has taken it with it.
func (be *Backend) reopen(ctx context.Context) {
	now := be.control.Now().UTC()
	key := etcdschema.OpenedKey()
	_, err := be.control.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil || now.Sub(rec.Value.At) < time.Second {
			return nil, err
		}
		return []etcdschema.Op{etcdschema.Put(key, etcdschema.Opened{At: now})}, nil
	})
	if err != nil && ctx.Err() == nil {
		be.control.Log.Warn("cannot put down that agents have to find another gateway", "err", err)
	}
}

// Presence records who holds whose poll. It records nothing of an agent that was removed meanwhile, or whose record cannot be read.
func (be *Backend) Presence(ctx context.Context, changes map[string]bool) error {
	mine := etcdschema.GatewayPollsKey(be.id)
	refs := []etcdschema.Ref{mine}
	for id, here := range changes {
		refs = append(refs, etcdschema.AgentKey(id))
		if !here {
			refs = append(refs, etcdschema.PresenceKey(id))
		}
	}
	since := be.control.Now().UTC()
	_, err := be.control.Store.Update(ctx, refs, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		polls, err := etcdschema.Read(s, mine)
		if err != nil {
			return nil, err
		}
		if !polls.Found || !polls.Value.Left.IsZero() {
			return nil, errUnannounced
		}
		var ops []etcdschema.Op
		for id, here := range changes {
			agent, err := etcdschema.Read(s, etcdschema.AgentKey(id))
			if etcdschema.Unread(err) {
				return nil, err
			}
			if err != nil || !agent.Found {
				continue
			}
			key := etcdschema.PresenceKey(id)
			if here {
				ops = append(ops, etcdschema.Put(key, etcdschema.Presence{Gateway: be.id, Since: since}))
				continue
			}
			rec, err := etcdschema.Read(s, key)
			if etcdschema.Unread(err) {
				return nil, err
			}
			if err == nil && rec.Found && rec.Value.Gateway == be.id { // else it has found another gateway
				last := since
				if at, ok := be.agents.LastContact(id); ok {
					last = at
				}
				ops = append(ops, etcdschema.Put(key, etcdschema.Presence{Since: last.UTC(), Judged: since}))
			}
		}
		return ops, nil
	})
	return err
}
