package mongodb

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/mongodb/opmsg"
	"github.com/cofferdb/coffer/datastores/service"
)

// membership is what a server is in a cluster.
type membership struct {
	ID     string `json:"id"`               // the cluster's
	Joined bool   `json:"joined,omitempty"` // it has been a member with data
	Left   bool   `json:"left,omitempty"`
}

// beMember gives the server the identity that all members have. Key and password follow from the cluster's secret, so nobody has to be told them.
func (m *Manager) beMember(v datastores.ClusterView) (identity, error) {
	id, err := m.identity()
	if err != nil || id.Cluster != nil && id.Cluster.ID == v.ID {
		return id, err
	}
	if id.Set != "" {
		return id, datastores.Errorf(datastores.Conflict, "the server is in a replica set already, %s", id.Set)
	}
	next := identity{Set: "coffer-" + v.ID, Cluster: &membership{ID: v.ID}}
	for what, field := range map[string]*string{"key": &next.Key, "admin": &next.Admin} {
		b, err := hkdf.Key(sha256.New, []byte(v.Secret.Reveal()), []byte(v.ID), "coffer mongodb cluster "+what, 32)
		if err != nil {
			return id, err
		}
		*field = hex.EncodeToString(b)
	}
	return next, m.own.SaveJSON(identityFile, next)
}

func (m *Manager) isMember() bool {
	id, err := m.identity()
	return err == nil && id.Cluster != nil
}

// seated fails while a member's server is on its way to what it is in its set, as far as it gets without the others.
func (m *Manager) seated(ctx context.Context, is greeting, in membership) error {
	if is.Primary || is.Secondary || is.Set == "" || !in.Joined {
		return nil
	}
	return m.talk(ctx, func(c *opmsg.Client) error { return m.outside(ctx, c) })
}

// inCluster fails when this member can have no part in what the cluster takes.
func (m *Manager) inCluster(ctx context.Context, is greeting) error {
	id, err := m.identity()
	if err != nil || id.Cluster == nil || !id.Cluster.Joined || id.Cluster.Left || is.Primary {
		return err
	}
	if is.Set == "" {
		return errors.New("it is no member of its cluster's replica set")
	}
	return m.talk(ctx, func(c *opmsg.Client) error {
		st, err := setStatus(ctx, c)
		if err != nil {
			return err
		}
		config, err := getConfig(ctx, c)
		if err != nil {
			return err
		}
		self, _ := st.member(func(s memberStatus) bool { return s.Self })
		if st.State != stateSecondary {
			return fmt.Errorf("it is in state %s: %s", self.Text, self.Info)
		}
		there := 0
		for _, s := range st.Members {
			if i := config.find(s.Name); s.Health == 1 && i >= 0 && voting(config.Members[i]) {
				there++
			}
		}
		if voters := config.voters(); there <= voters/2 {
			return fmt.Errorf("it reaches %d of the %d members that vote, too few to take anything", there, voters)
		}
		return nil
	})
}

// lead runs do at the server that takes the writes: this one or, of a cluster, its primary. It waits while there is none, as long as an election takes.
func (m *Manager) lead(ctx context.Context, do func(*opmsg.Client) error) error {
	id, err := m.identity()
	if err != nil {
		return err
	}
	if id.Cluster == nil {
		return m.talk(ctx, do)
	}
	for until := time.Now().Add(electionWithin); ; {
		is, err := m.hello(ctx)
		switch {
		case err != nil:
			return err
		case is.Primary:
			return m.talk(ctx, do)
		case is.At != "":
			return m.visit(ctx, is.At, do)
		case time.Now().After(until) || !service.Pause(ctx, pollEvery):
			return datastores.Errorf(datastores.Unavailable, "the cluster has no primary now; ask again when its members have elected one")
		}
	}
}

// visit runs do at another member, under the account of the guests, which is one in all of the cluster.
func (m *Manager) visit(ctx context.Context, at string, do func(*opmsg.Client) error) error {
	id, err := m.identity()
	if err != nil {
		return err
	}
	c, err := m.reach(ctx, at)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.Login(ctx, adminDatabase, adminUser, id.Admin); err != nil {
		return crowded(err)
	}
	return do(c)
}

// reach connects to another member.
func (m *Manager) reach(ctx context.Context, at string) (*opmsg.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := service.Dialer(m.env.Address).DialContext(ctx, "tcp", at)
	if err != nil {
		return nil, err
	}
	t := m.env.ServerTLS()
	if !t.On() {
		return opmsg.New(ctx, conn, nil)
	}
	address, _, err := net.SplitHostPort(at)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	config, err := t.ToServer(address)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return opmsg.New(ctx, conn, config)
}

// greet asks another member what it says to everybody.
func (m *Manager) greet(ctx context.Context, at string) (is greeting, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	c, err := m.reach(ctx, at)
	if err != nil {
		return is, err
	}
	defer func() { _ = c.Close() }()
	reply, err := c.Call(ctx, adminDatabase, bson.D{{Key: "hello", Value: 1}})
	if err != nil {
		return is, crowded(err)
	}
	return is, bson.Unmarshal(reply, &is)
}

// atPrimary runs do at the member that was elected last.
func (m *Manager) atPrimary(ctx context.Context, v datastores.ClusterView, do func(*opmsg.Client) error) error {
	at, err := m.elected(ctx, v)
	if err != nil {
		return err
	}
	return m.visit(ctx, at, do)
}

// elected is where that one is. It may be one that leaves.
func (m *Manager) elected(ctx context.Context, v datastores.ClusterView) (at string, err error) {
	if at, err = m.electedOf(ctx, v.Of(datastores.ClusterIn)); err != nil {
		if at, _ := m.electedOf(ctx, v.Of(datastores.ClusterLeaves)); at != "" {
			return at, nil
		}
	}
	return at, err
}

func (m *Manager) electedOf(ctx context.Context, of []datastores.ClusterMember) (at string, err error) {
	var newest bson.ObjectID
	for _, c := range of {
		is, failure := m.greet(ctx, host(c.Address))
		if failure != nil {
			err = errors.Join(err, fmt.Errorf("member %s cannot be asked: %w", c.ID, failure))
		} else if is.Primary && (at == "" || bytes.Compare(is.Election[:], newest[:]) > 0) {
			at, newest = host(c.Address), is.Election
		}
	}
	if at == "" {
		return "", errors.Join(errors.New("no member has been elected"), err)
	}
	return at, nil
}

// forceOut has those that are left be the whole set, when so many voters are lost that the others can elect nobody. The one that has come furthest says
// so, by a forced reconfiguration: what it lacks is given up.
func (m *Manager) forceOut(ctx context.Context, v datastores.ClusterView) error {
	if len(v.Of(datastores.ClusterLost)) == 0 {
		return nil
	}
	if _, err := m.elected(ctx, v); err == nil {
		return nil
	}
	in := v.Of(datastores.ClusterIn)
	var furthest opTime
	var best string
	var config setConfig
	for _, c := range in {
		err := m.visit(ctx, host(c.Address), func(client *opmsg.Client) error {
			st, err := setStatus(ctx, client)
			if err != nil {
				return err
			}
			if at := st.OpTimes.Applied; best == "" || at.after(furthest) {
				furthest, best = at, host(c.Address)
				config, err = getConfig(ctx, client)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("member %s cannot be asked: %w", c.ID, err)
		}
	}
	voters := config.voters()
	config.Members = slices.DeleteFunc(config.Members, func(d bson.D) bool {
		return !slices.ContainsFunc(in, func(c datastores.ClusterMember) bool { return host(c.Address) == value(d, "host") })
	})
	if config.voters() > voters/2 {
		return nil // they are enough to elect one
	}
	for i, d := range config.Members {
		if i < mostVoters {
			config.Members[i] = vote(d)
		}
	}
	v.Progress("taking the lost members out, by " + best)
	return m.visit(ctx, best, func(c *opmsg.Client) error {
		_, err := c.Call(ctx, adminDatabase, bson.D{{Key: "replSetReconfig", Value: config.document()}, {Key: "force", Value: true}})
		return err
	})
}
