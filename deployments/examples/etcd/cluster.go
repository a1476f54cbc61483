package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

const askAgain = 200 * time.Millisecond

// known is a member as the cluster has it. It is known by its URL, which does not change.
type known struct {
	ID         string   `json:"ID"`
	Name       string   `json:"name"` // "": its server has never run
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
	IsLearner  bool     `json:"isLearner"` // it gets everything, and does not count yet
}

type members []known

func (all members) at(address string) (known, bool) {
	i := slices.IndexFunc(all, func(k known) bool { return slices.Contains(k.PeerURLs, peerURL(address)) })
	if i < 0 {
		return known{}, false
	}
	return all[i], true
}

func list(ctx context.Context, c client) (members, error) {
	var answer struct{ Members members }
	err := c.call(ctx, "cluster/member/list", object{}, &answer)
	return answer.Members, err
}

// ClusterShape implements [datastores.Cluster]. With three a cluster survives the loss of one.
func (m *Manager) ClusterShape() datastores.ClusterShape {
	return datastores.ClusterShape{MinMembers: 3}
}

// JoinCluster implements [datastores.Cluster]. The first one is a cluster of one already: every etcd is.
func (m *Manager) JoinCluster(ctx context.Context, v datastores.ClusterView) error {
	s, err := m.load()
	if err != nil {
		return err
	}
	others := v.Others()
	if s.Cluster != v.ID && len(others) > 0 {
		v.Progress("asking the others to be let in")
		if s, err = m.ask(ctx, v, s, at(others[0].Address)); err != nil {
			return err
		}
	}
	s.Cluster, s.Ready = v.ID, true
	if err := m.save(s); err != nil {
		return err
	}
	server := m.server(s, true)
	if err := m.run(ctx, server); err != nil {
		return err
	}
	if len(others) > 0 {
		v.Progress("waiting until the server has what the others have")
		if err := m.promote(ctx, at(others[0].Address)); err != nil {
			return err
		}
	}
	return server.Await(ctx, m.healthy)
}

// ask tells a member of this server, which begins anew as one of them. Whoever has begun before and was cut short is another one now.
func (m *Manager) ask(ctx context.Context, v datastores.ClusterView, s state, member client) (state, error) {
	s.Password = v.Secret.Reveal()
	if err := m.clear(ctx, &s); err != nil {
		return s, err
	}
	all, err := list(ctx, member)
	if err != nil {
		return s, err
	}
	if before, there := all.at(m.env.Address); there {
		if err := m.remove(ctx, member, before); err != nil {
			return s, err
		}
	}
	var answer struct{ Members members }
	added := object{"peerURLs": []string{peerURL(m.env.Address)}, "isLearner": true}
	err = service.AwaitSaying(ctx, func() error { return m.admin(ctx, member, "cluster/member/add", added, &answer) })
	if err != nil {
		return s, err
	}
	var others []string
	for _, k := range answer.Members {
		others = append(others, cmp.Or(k.Name, m.env.Address)+"="+k.PeerURLs[0])
	}
	s.Others = strings.Join(others, ",")
	return s, nil
}

// promote has this server count as a member, as soon as it has what the others have.
func (m *Manager) promote(ctx context.Context, member client) error {
	for {
		all, err := list(ctx, member)
		self, there := all.at(m.env.Address)
		switch {
		case err == nil && !there:
			return errors.New("the others do not know this member any more")
		case err == nil && !self.IsLearner:
			return nil
		case err == nil:
			err = m.askLeader(ctx, member, all, "cluster/member/promote", object{"ID": self.ID})
		}
		if err != nil && !service.Pause(ctx, askAgain) {
			return fmt.Errorf("the member does not count yet: %w", err)
		}
	}
}

// askLeader asks the leader, for the others would ask it without saying who asks.
func (m *Manager) askLeader(ctx context.Context, member client, all members, path string, in any) error {
	var status struct{ Leader string }
	if err := member.call(ctx, "maintenance/status", object{}, &status); err != nil {
		return err
	}
	for _, k := range all {
		if k.ID == status.Leader && len(k.ClientURLs) > 0 {
			member.url = k.ClientURLs[0]
			return m.admin(ctx, member, path, in, nil)
		}
	}
	return errNoLeader
}

// remove takes a member out of the list. etcd changes that when all others have heard of each other for some seconds.
func (m *Manager) remove(ctx context.Context, member client, k known) error {
	return service.AwaitSaying(ctx, func() error {
		err := m.admin(ctx, member, "cluster/member/remove", object{"ID": k.ID}, nil)
		if refused(err, "member not found") {
			return nil
		}
		return err
	})
}

// SettleCluster implements [datastores.Cluster].
func (m *Manager) SettleCluster(ctx context.Context, v datastores.ClusterView) error {
	all, err := list(ctx, m.own())
	if err != nil {
		return err
	}
	in := v.Of(datastores.ClusterIn)
	for _, k := range all {
		if !slices.ContainsFunc(in, func(one datastores.ClusterMember) bool { return slices.Contains(k.PeerURLs, peerURL(one.Address)) }) {
			v.Progress("taking a member away that is no more")
			if err := m.remove(ctx, m.own(), k); err != nil {
				return err
			}
		}
	}
	for _, one := range in {
		if _, there := all.at(one.Address); !there {
			return datastores.Errorf(datastores.Conflict, "member %s is in no list of the cluster", one.ID)
		}
		v.Progress("waiting for member " + one.ID)
		err := service.AwaitSaying(ctx, func() error { return at(one.Address).healthy(ctx) })
		if err != nil {
			return fmt.Errorf("member %s: %w", one.ID, err)
		}
	}
	return nil
}

// LeaveCluster implements [datastores.Cluster]. The server is an empty one then, into which nobody is let.
func (m *Manager) LeaveCluster(ctx context.Context, v datastores.ClusterView) error {
	s, err := m.load()
	if err != nil {
		return err
	}
	others := v.Others()
	if len(others) == 0 {
		return datastores.Errorf(datastores.Invalid, "nobody stays in the cluster")
	}
	member := at(others[0].Address)
	if s.Cluster == v.ID {
		all, err := list(ctx, member)
		if err != nil {
			return err
		}
		if self, there := all.at(m.env.Address); there {
			if err := m.remove(ctx, member, self); err != nil {
				return err
			}
		}
	}
	if s.Cluster != "" || !s.Ready {
		if err := m.begin(ctx, state{Password: s.Password}); err != nil {
			return err
		}
	}
	return m.Start(ctx)
}
