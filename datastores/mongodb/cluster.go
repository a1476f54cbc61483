package mongodb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
	"github.com/cofferdb/coffer/datastores/service"
)

const (
	mostVoters     = 7 // of a replica set, by MongoDB's documents
	askTimeout     = 5 * time.Second
	electionWithin = 15 * time.Second // by the documents 12 s are what one takes at most, as a rule
	aside          = 60               // seconds for which a member that leaves stands for no election
	catchUpWithin  = 30               // seconds that another one has to take its place
)

// ClusterShape implements [datastores.Cluster]. A cluster is one replica set, whose members elect the one that takes the writes.
func (m *Manager) ClusterShape() datastores.ClusterShape {
	return datastores.ClusterShape{Backups: datastores.BackupOfMember}
}

// JoinCluster implements [datastores.Cluster]. A member that comes copies the data from the others, and votes when it has them.
func (m *Manager) JoinCluster(ctx context.Context, v datastores.ClusterView) error {
	id, err := m.beMember(v)
	if err != nil {
		return err
	}
	if len(v.Others()) == 0 {
		err = m.found(ctx, id)
	} else {
		err = m.comeTo(ctx, v)
	}
	if err != nil {
		return err
	}
	return m.change(func(id *identity) { id.Ready, id.Cluster.Joined = true, true })
}

// found makes the server a set of one, with the data that it has.
func (m *Manager) found(ctx context.Context, id identity) error {
	if !id.Ready {
		if err := m.maintain(ctx, m.secure); err != nil {
			return fmt.Errorf("cannot make the guest's account: %w", err)
		}
		if err := m.change(func(id *identity) { id.Ready = true }); err != nil {
			return err
		}
	}
	if err := m.Start(ctx); err != nil {
		return err
	}
	return service.AwaitSaying(ctx, func() error {
		is, err := m.hello(ctx)
		switch {
		case err != nil:
			return err
		case is.Primary:
			return nil
		case is.Set == "":
			if err := m.talk(ctx, func(c *opmsg.Client) error { return m.initiate(ctx, c, id) }); err != nil {
				return err
			}
		}
		return errors.New("the server is not the primary of its new replica set yet")
	})
}

// comeTo has the primary take this member in, and waits until it has the data.
func (m *Manager) comeTo(ctx context.Context, v datastores.ClusterView) error {
	v.Progress("joining the replica set")
	err := service.AwaitSaying(ctx, func() error {
		return m.atPrimary(ctx, v, func(c *opmsg.Client) error {
			return reconfigure(ctx, c, func(config *setConfig) bool { return config.takeIn(m.env.Address) })
		})
	})
	if err != nil {
		return err
	}
	v.Progress("copying the data")
	for {
		is, err := m.hello(ctx)
		if err == nil && (is.Primary || is.Secondary) {
			return nil
		}
		if !service.Pause(ctx, pollEvery) {
			return fmt.Errorf("the server has not copied the data yet: %w", errors.Join(ctx.Err(), err))
		}
	}
}

// SettleCluster implements [datastores.Cluster].
func (m *Manager) SettleCluster(ctx context.Context, v datastores.ClusterView) error {
	var goal datastores.Position
	v.Progress("waiting for all members to have all data")
	return service.AwaitSaying(ctx, func() error {
		if err := m.forceOut(ctx, v); err != nil {
			return err
		}
		return m.atPrimary(ctx, v, func(c *opmsg.Client) error {
			if err := order(ctx, c, v); err != nil {
				return err
			}
			st, err := setStatus(ctx, c)
			if err != nil {
				return err
			}
			if goal.ID == "" {
				goal = st.OpTimes.Applied.position()
			}
			if err := st.complete(v, goal); err != nil {
				return err
			}
			if err := committed(ctx, c); err != nil {
				return err
			}
			return m.raiseFormat(ctx, c, v)
		})
	})
}

// committed returns nil when a majority has the primary's configuration, so that they can elect one by it.
func committed(ctx context.Context, c *opmsg.Client) error {
	reply, err := c.Call(ctx, adminDatabase, bson.D{{Key: "replSetGetConfig", Value: 1}, {Key: "commitmentStatus", Value: true}})
	if err != nil {
		return err
	}
	if is, ok := reply.Lookup("commitmentStatus").BooleanOK(); !ok || !is {
		return errors.New("a majority does not have the replica set's configuration yet")
	}
	return nil
}

// order has the set be what the view says, one member at a time, as the documents ask: nobody else is in it, and as many vote as may.
func order(ctx context.Context, c *opmsg.Client, v datastores.ClusterView) error {
	stay := v.Of(datastores.ClusterIn, datastores.ClusterJoins)
	for changed := true; changed; {
		changed = false
		err := reconfigure(ctx, c, func(config *setConfig) bool {
			changed = config.step(stay, v.Of(datastores.ClusterIn))
			return changed
		})
		if err != nil {
			return fmt.Errorf("cannot change the replica set: %w", err)
		}
	}
	return nil
}

// step is the next change of a configuration; false: there is none.
func (s *setConfig) step(stay, in []datastores.ClusterMember) bool {
	for i, d := range s.Members {
		if !slices.ContainsFunc(stay, func(c datastores.ClusterMember) bool { return host(c.Address) == value(d, "host") }) {
			s.Members = slices.Delete(s.Members, i, i+1)
			return true
		}
	}
	for _, c := range in {
		if s.takeIn(c.Address) {
			return true
		}
	}
	if s.voters() >= mostVoters {
		return false
	}
	for i, d := range s.Members {
		if !voting(d) {
			s.Members[i] = vote(d)
			return true
		}
	}
	return false
}

// takeIn adds a member, which votes when there is room; false: it is there.
func (s *setConfig) takeIn(address string) bool {
	if s.find(host(address)) >= 0 {
		return false
	}
	s.Members = append(s.Members, member(s.nextID(), address, s.voters() < mostVoters))
	return true
}

func (s *setConfig) voters() (n int) {
	for _, d := range s.Members {
		if voting(d) {
			n++
		}
	}
	return n
}

// voting reports whether a member of a configuration votes.
func voting(d bson.D) bool {
	votes := value(d, "votes")
	return votes == nil || asInt(votes) > 0
}

func vote(d bson.D) bson.D {
	d = slices.DeleteFunc(slices.Clone(d), func(e bson.E) bool { return e.Key == "votes" || e.Key == "priority" })
	return append(d, bson.E{Key: "priority", Value: 1}, bson.E{Key: "votes", Value: 1})
}

// complete returns nil when all members are well and have what the primary had at the goal, and all that are to vote do: a member that is new does not at
// first.
func (st status) complete(v datastores.ClusterView, goal datastores.Position) error {
	in := v.Of(datastores.ClusterIn)
	for _, c := range in {
		s, there := st.member(func(s memberStatus) bool { return s.Name == host(c.Address) })
		switch {
		case !there:
			return fmt.Errorf("member %s is not in the replica set yet", c.ID)
		case s.Health != 1:
			return fmt.Errorf("member %s does not answer: %s", c.ID, s.Message)
		case s.State != statePrimary && s.State != stateSecondary:
			return fmt.Errorf("member %s is in state %s", c.ID, s.Text)
		case s.OpTime.position().Count < goal.Count:
			return fmt.Errorf("member %s has not come to where the primary was", c.ID)
		}
	}
	if want := min(len(in), mostVoters); st.Voting != want {
		return fmt.Errorf("%d members vote, of %d that are to", st.Voting, want)
	}
	return nil
}

// LeaveCluster implements [datastores.Cluster]. A primary has another member take its place first.
func (m *Manager) LeaveCluster(ctx context.Context, v datastores.ClusterView) error {
	id, err := m.identity()
	if err != nil || id.Cluster == nil || id.Cluster.Left {
		return err
	}
	v.Progress("leaving the replica set")
	if err := service.AwaitSaying(ctx, func() error { return m.leave(ctx, v) }); err != nil {
		return err
	}
	return m.change(func(id *identity) { id.Cluster.Left = true })
}

// leave goes on with it, and returns nil when the server knows that it is a member no more: it takes neither reads nor writes then.
func (m *Manager) leave(ctx context.Context, v datastores.ClusterView) error {
	is, err := m.hello(ctx)
	switch {
	case err != nil:
		return err
	case is.Set == "":
		return nil
	case len(v.Others()) == 0:
		return datastores.Errorf(datastores.Conflict, "nobody stays to take what member %s has", v.Self)
	case is.Primary:
		err := m.talk(ctx, func(c *opmsg.Client) error {
			_, err := c.Call(ctx, adminDatabase, bson.D{{Key: "replSetStepDown", Value: aside}, {Key: "secondaryCatchUpPeriodSecs", Value: catchUpWithin}})
			return err
		})
		return errors.Join(errors.New("another member has not taken the place of this one yet"), err)
	}
	if err := m.atPrimary(ctx, v, func(c *opmsg.Client) error { return takeOut(ctx, c, m.env.Address) }); err != nil {
		return err
	}
	return errors.New("the server does not know yet that it has left")
}

// Upkeep implements [datastores.Upkeep]: a change of a user that was cut is gone on with, wherever the primary is now.
func (m *Manager) Upkeep(ctx context.Context) error {
	id, err := m.identity()
	if err != nil || id.Cluster == nil || !id.Cluster.Joined || id.Cluster.Left {
		return err
	}
	return m.finishChange(ctx)
}

var (
	_ datastores.Cluster = (*Manager)(nil)
	_ datastores.Upkeep  = (*Manager)(nil)
)
