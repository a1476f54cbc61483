package couchbase

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// ClusterShape implements [datastores.Cluster]. All members are equal: each has a part of every bucket, and copies of others. With fewer than three none may
// be missing, but they may be had.
func (m *Manager) ClusterShape() datastores.ClusterShape {
	return datastores.ClusterShape{Backups: datastores.BackupOfMember}
}

// JoinCluster implements [datastores.Cluster]. A node that has joined takes no part before the cluster is settled.
func (m *Manager) JoinCluster(ctx context.Context, v datastores.ClusterView) error {
	id, err := m.identity()
	if err != nil {
		return err
	}
	if id.Cluster != v.ID {
		return datastores.Errorf(datastores.Conflict, "the server was not prepared for this cluster")
	}
	others := slices.DeleteFunc(v.Of(datastores.ClusterIn), func(c datastores.ClusterMember) bool { return c.ID == v.Self })
	if len(others) == 0 {
		return m.Start(ctx)
	}
	v.Progress("joining the cluster")
	return service.AwaitSaying(ctx, func() error {
		p, err := m.pool(ctx)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(others, func(c datastores.ClusterMember) bool { return p.at(c.Address) != nil }) {
			return nil
		}
		for _, c := range others {
			one := m.call(ctx, "POST", "/node/controller/doJoinCluster", url.Values{
				"clusterMemberHostIp": {c.Address}, "clusterMemberPort": {strconv.Itoa(restPort)}, "user": {adminUser}, "password": {id.Admin},
				"services": {strings.Join(m.options.Services, ",")},
			}, nil)
			if one == nil {
				return m.warm(ctx)
			}
			err = errors.Join(err, fmt.Errorf("member %s: %w", c.ID, one))
		}
		return err
	})
}

// SettleCluster implements [datastores.Cluster].
func (m *Manager) SettleCluster(ctx context.Context, v datastores.ClusterView) error {
	v.Progress("waiting for the cluster to be balanced")
	err := service.AwaitSaying(ctx, func() error {
		if err := m.giveUp(ctx, v); err != nil {
			return err
		}
		p, err := m.pool(ctx)
		if err != nil {
			return err
		}
		if err := m.rebalancing(ctx, p); err != nil {
			return err
		}
		if err := m.bringBack(ctx, v, p); err != nil {
			return err
		}
		spread, err := m.spread(ctx, len(v.Of(datastores.ClusterIn)))
		if err != nil {
			return err
		}
		eject := p.strangers(v)
		if spread && p.Balanced && len(eject) == 0 && p.allActive() {
			return nil
		}
		return m.rebalance(ctx, p, eject)
	})
	if err != nil {
		return err
	}
	return m.apply(ctx)
}

// giveUp fails over the members that are lost, so that the others go on with their copies. What only they had is lost, which is why the server has to be told
// that it is not safe when most of the nodes are among them.
func (m *Manager) giveUp(ctx context.Context, v datastores.ClusterView) error {
	p, err := m.pool(ctx)
	if err != nil {
		return err
	}
	form := url.Values{}
	for _, c := range v.Of(datastores.ClusterLost) {
		if n := p.at(c.Address); n != nil && n.Membership == active {
			form.Add("otpNode", n.Name)
		}
	}
	if len(form) == 0 {
		return nil
	}
	v.Progress("failing over the members that are lost")
	err = m.call(ctx, "POST", "/controller/failOver", form, nil)
	if says(err, "safely") {
		form.Set("allowUnsafe", "true")
		err = m.call(ctx, "POST", "/controller/failOver", form, nil)
	}
	if err != nil {
		return fmt.Errorf("cannot fail over the members that are lost: %w", err)
	}
	return nil
}

// rebalancing returns an error while the server rebalances, which says how far it is.
func (m *Manager) rebalancing(ctx context.Context, p pool) error {
	if p.Rebalance == "none" || p.Rebalance == "" {
		return nil
	}
	var all map[string]any
	if err := m.call(ctx, "GET", "/pools/default/rebalanceProgress", nil, &all); err != nil {
		return err
	}
	least := 1.0
	for _, one := range all {
		if n, ok := one.(map[string]any); ok {
			if done, ok := n["progress"].(float64); ok {
				least = min(least, done)
			}
		}
	}
	return fmt.Errorf("the cluster is rebalanced, and is at %.1f percent", 100*least)
}

// bringBack has members that were failed over come back with the next rebalance, empty. It fails for one that is not there or does not answer.
func (m *Manager) bringBack(ctx context.Context, v datastores.ClusterView, p pool) error {
	for _, c := range v.Of(datastores.ClusterIn) {
		n := p.at(c.Address)
		switch {
		case n == nil:
			return fmt.Errorf("member %s is no node of the cluster", c.ID)
		case n.Status != healthy:
			return fmt.Errorf("member %s is %s", c.ID, n.Status)
		case n.Membership != inactiveFailed || n.Recovery != "none":
			continue
		}
		if err := m.call(ctx, "POST", "/controller/setRecoveryType", url.Values{"otpNode": {n.Name}, "recoveryType": {"full"}}, nil); err != nil {
			return fmt.Errorf("member %s cannot come back: %w", c.ID, err)
		}
	}
	return nil
}

// spread gives each bucket as many replicas as it is to have among so many nodes. It reports whether all had them.
func (m *Manager) spread(ctx context.Context, nodes int) (had bool, err error) {
	list, err := m.buckets(ctx)
	if err != nil {
		return false, err
	}
	wanted, had := min(m.options.Replicas, nodes-1), true
	for _, b := range list {
		if b.Replicas != wanted {
			had = false
			if err := m.call(ctx, "POST", buckets+name(b.Name), url.Values{"replicaNumber": {strconv.Itoa(wanted)}}, nil); err != nil {
				return false, err
			}
		}
	}
	return had, nil
}

// strangers are the nodes that are no members, by their names.
func (p pool) strangers(v datastores.ClusterView) (names []string) {
	for _, n := range p.Nodes {
		members := v.Of(datastores.ClusterIn, datastores.ClusterJoins, datastores.ClusterLeaves)
		if !slices.ContainsFunc(members, func(c datastores.ClusterMember) bool { return p.at(c.Address) != nil && p.at(c.Address).Name == n.Name }) {
			names = append(names, n.Name)
		}
	}
	return names
}

func (p pool) allActive() bool {
	return !slices.ContainsFunc(p.Nodes, func(n node) bool { return n.Membership != active })
}

// rebalance begins one, of all nodes, and returns an error, for it is not done.
func (m *Manager) rebalance(ctx context.Context, p pool, eject []string) error {
	var known []string
	for _, n := range p.Nodes {
		known = append(known, n.Name)
	}
	slices.Sort(known)
	err := m.call(ctx, "POST", "/controller/rebalance", url.Values{"knownNodes": {strings.Join(known, ",")}, "ejectedNodes": {strings.Join(eject, ",")}}, nil)
	if err != nil {
		return fmt.Errorf("cannot rebalance: %w", err)
	}
	return errors.New("a rebalance has begun")
}

// LeaveCluster implements [datastores.Cluster]. A node that a rebalance has ejected forgets everything, its administrator too: it is provisioned anew at once,
// under a password that nobody else has.
func (m *Manager) LeaveCluster(ctx context.Context, v datastores.ClusterView) error {
	id, err := m.identity()
	if err != nil {
		return err
	}
	if id.Cluster != "" {
		if len(v.Of(datastores.ClusterIn)) == 0 {
			return datastores.Errorf(datastores.Conflict, "no member stays that could have what this one has")
		}
		v.Progress("moving what this member has to the others")
		if err := m.startServer(ctx); err != nil {
			return err
		}
		if err := service.AwaitSaying(ctx, func() error { return m.ejected(ctx) }); err != nil {
			return err
		}
		if err := m.own.SaveJSON(identityFile, identity{Admin: rand.Text()}); err != nil {
			return err
		}
	}
	if err := m.startServer(ctx); err != nil {
		return err
	}
	if err := m.provision(ctx); err != nil {
		return fmt.Errorf("cannot provision the server: %w", err)
	}
	return m.Start(ctx)
}

// ejected returns nil when this server is in no cluster any more.
func (m *Manager) ejected(ctx context.Context) error {
	still, err := m.provisioned(ctx)
	if err != nil || !still {
		return err
	}
	p, err := m.pool(ctx)
	if err != nil {
		return err
	}
	self, err := p.self()
	if err != nil {
		return err
	}
	if len(p.Nodes) == 1 { // it has never joined
		list, err := m.buckets(ctx)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			return datastores.Errorf(datastores.Conflict, "the node is alone and has %d buckets: nobody would have them", len(list))
		}
		err = m.call(ctx, "POST", "/controller/hardResetNode", nil, nil)
		return errors.Join(err, errors.New("the node is reset"))
	}
	if err := m.rebalancing(ctx, p); err != nil {
		return err
	}
	for _, n := range p.Nodes {
		if n.Membership == active && n.Status != healthy {
			return fmt.Errorf("node %s is %s", n.Host, n.Status)
		}
	}
	err = m.rebalance(ctx, p, []string{self.Name})
	if isStatus(err, http.StatusNotFound) {
		return errors.New("the node is on its way out")
	}
	return err
}
