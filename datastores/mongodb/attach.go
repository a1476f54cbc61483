package mongodb

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
	"github.com/cofferdb/coffer/datastores/service"
)

// attach makes the server a member of the source's set. One whose history is the source's goes on from where it is; any other begins anew: its data
// are taken away and copied from the source.
func (m *Manager) attach(ctx context.Context, req datastores.AttachRequest) error {
	req.Progress("asking the source")
	src, t, err := m.ask(ctx, req)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	id, err := m.identity()
	if err != nil {
		return err
	}
	anew := req.Anew || id.Set != t.Set || id.Leaves
	if anew && req.Keep {
		return datastores.Errorf(datastores.Conflict, "the server has data of its own: it never was a member of its source's replica set")
	}
	complete := id.Ready && (id.Synced || id.Source == nil)
	if !anew && complete {
		if anew, err = m.diverges(ctx, src, req.Keep); err != nil {
			return err
		}
	}
	next := identity{Set: t.Set, Key: t.Key, Admin: t.Admin, Ready: true, Synced: complete && !anew, Source: &source{req.Address, req.SourceID}}
	if anew {
		req.Progress("taking the data away")
		if err := m.empty(ctx); err != nil {
			return err
		}
	}
	req.Progress("joining the source's replica set")
	if err := m.join(ctx, src); err != nil {
		return fmt.Errorf("cannot join the source's replica set: %w", err)
	}
	if !anew && id.Key != t.Key {
		if err := m.yield(ctx, src); err != nil {
			return err
		}
		if err := m.service.Stop(ctx); err != nil { // a server reads the key when it starts
			return err
		}
	}
	if err := m.own.SaveJSON(identityFile, next); err != nil {
		return err
	}
	if err := m.Start(ctx); err != nil {
		return err
	}
	req.Progress("copying the data")
	return m.arriveAt(ctx, src, req.Address)
}

// ask logs in to the source and fetches what its guest has left for this one.
func (m *Manager) ask(ctx context.Context, req datastores.AttachRequest) (*opmsg.Client, ticket, error) {
	secure, err := m.env.ServerTLS().ToSource(req.Address)
	if err != nil {
		return nil, ticket{}, err
	}
	conn, err := service.Dialer(m.env.Address).DialContext(ctx, "tcp", host(req.Address))
	if err != nil {
		return nil, ticket{}, fmt.Errorf("cannot connect to the source: %w", err)
	}
	c, err := opmsg.New(ctx, conn, secure)
	if err != nil {
		return nil, ticket{}, fmt.Errorf("cannot connect to the source: %w", err)
	}
	t, err := fetch(ctx, c, req.Account)
	if err != nil {
		return nil, ticket{}, errors.Join(err, c.Close())
	}
	return c, t, nil
}

func fetch(ctx context.Context, c *opmsg.Client, a datastores.ReplicaAccount) (t ticket, err error) {
	if err := c.Login(ctx, adminDatabase, a.User, a.Password.Reveal()); err != nil {
		return t, fmt.Errorf("cannot log in to the source: %w", err)
	}
	list, err := listAccounts(ctx, c, a.User)
	if err != nil || len(list) == 0 {
		return t, errors.Join(errors.New("the source does not tell of the replica's account"), err)
	}
	return unseal(a, list[0].Custom.Sealed)
}

// diverges reports whether the newest write here is none of the source's, so that the server cannot go on from it. With keep it fails when that may
// be more than marks that a primary leaves.
func (m *Manager) diverges(ctx context.Context, src *opmsg.Client, keep bool) (lost bool, err error) {
	if err := m.Start(ctx); err != nil {
		return false, err
	}
	err = m.talk(ctx, func(c *opmsg.Client) error {
		newest, err := history(ctx, c, bson.D{}, -1, mostMarks)
		if err != nil {
			return err
		}
		for i, w := range newest {
			has, err := history(ctx, src, bson.D{{Key: "ts", Value: w.TS}}, 1, 1)
			switch {
			case err != nil:
				return err
			case len(has) == 1 && has[0].Term == w.Term:
				lost = i > 0
				return nil
			case w.Op != "n" && keep:
				return datastores.Errorf(datastores.Conflict, "the server has writes that its source lacks, the newest of %s", w.position().ID)
			}
		}
		if keep && len(newest) == mostMarks {
			return datastores.Errorf(datastores.Conflict, "the source has none of the newest %d writes of this server", mostMarks)
		}
		lost = true
		return nil
	})
	return lost, err
}

// mostMarks is how many writes are looked at.
const mostMarks = 100

// write is a line of an oplog.
type write struct {
	opTime `bson:",inline"`
	Op     string `bson:"op"`
}

// history reads the oplog; direction -1: the newest first.
func history(ctx context.Context, c *opmsg.Client, filter bson.D, direction, most int) ([]write, error) {
	reply, err := c.Call(ctx, "local", bson.D{
		{Key: "find", Value: "oplog.rs"}, {Key: "filter", Value: filter}, {Key: "sort", Value: bson.D{{Key: "$natural", Value: direction}}},
		{Key: "projection", Value: bson.D{{Key: "ts", Value: 1}, {Key: "t", Value: 1}, {Key: "op", Value: 1}}},
		{Key: "limit", Value: most}, {Key: "singleBatch", Value: true}, anywhere(),
	})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Cursor struct {
			First []write `bson:"firstBatch"`
		} `bson:"cursor"`
	}
	return answer.Cursor.First, bson.Unmarshal(reply, &answer)
}

func (m *Manager) join(ctx context.Context, src *opmsg.Client) error {
	return reconfigure(ctx, src, func(config *setConfig) bool {
		if config.find(host(m.env.Address)) >= 0 {
			return false
		}
		config.Members = append(config.Members, member(config.nextID(), m.env.Address, false))
		return true
	})
}

// yield makes a former source a member that does not vote, with the source's own configuration, before it gets the key by which the others listen to it.
func (m *Manager) yield(ctx context.Context, src *opmsg.Client) error {
	is, err := m.hello(ctx)
	if err != nil || !is.Primary {
		return err
	}
	config, err := getConfig(ctx, src)
	if err != nil {
		return err
	}
	err = m.talk(ctx, func(c *opmsg.Client) error {
		_, err := c.Call(ctx, adminDatabase, bson.D{{Key: "replSetReconfig", Value: config.document()}, {Key: "force", Value: true}})
		return err
	})
	if err != nil {
		return fmt.Errorf("the former source does not step down: %w", err)
	}
	return nil
}

// arriveAt waits until the server follows the source and has what that had when it began to.
func (m *Manager) arriveAt(ctx context.Context, src *opmsg.Client, address string) error {
	st, err := setStatus(ctx, src)
	if err != nil {
		return err
	}
	end := st.OpTimes.Applied.position()
	for {
		why, err := m.behind(ctx, address, end)
		if err == nil && why == "" {
			return m.change(func(id *identity) { id.Synced = true })
		}
		if !service.Pause(ctx, pollEvery) {
			return fmt.Errorf("the server does not follow %s: %s: %w", address, why, errors.Join(ctx.Err(), err))
		}
	}
}

// behind says what is missing.
func (m *Manager) behind(ctx context.Context, address string, end datastores.Position) (why string, err error) {
	is, err := m.hello(ctx)
	if err != nil || !is.Secondary {
		return "it has not copied the data yet", err
	}
	err = m.talk(ctx, func(c *opmsg.Client) error {
		st, err := setStatus(ctx, c)
		if err != nil {
			return err
		}
		if f := st.following(address); !f.Follows {
			why = f.Why
		} else if st.OpTimes.Durable.position().Count < end.Count {
			why = "it has not come to where its source was"
		}
		return nil
	})
	return why, err
}
