package couchbase

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
)

// node is one of the cluster, as the server sees it.
type node struct {
	Host       string `json:"hostname"` // with a port
	Name       string `json:"otpNode"`
	This       bool   `json:"thisNode"`
	Status     string `json:"status"`            // healthy, warmup or unhealthy
	Membership string `json:"clusterMembership"` // active, inactiveAdded or inactiveFailed
	Recovery   string `json:"recoveryType"`
	Version    string `json:"version"`
}

// pool is the cluster, of one node or more.
type pool struct {
	Nodes     []node `json:"nodes"`
	Balanced  bool   `json:"balanced"`
	Rebalance string `json:"rebalanceStatus"`
}

const (
	healthy        = "healthy"
	active         = "active"
	inactiveFailed = "inactiveFailed"
)

// pool asks for it.
func (m *Manager) pool(ctx context.Context) (p pool, err error) {
	err = m.call(ctx, "GET", "/pools/default", nil, &p)
	return p, err
}

// self is this node.
func (p pool) self() (node, error) {
	i := slices.IndexFunc(p.Nodes, func(n node) bool { return n.This })
	if i < 0 {
		return node{}, errors.New("the server does not find itself among its nodes")
	}
	return p.Nodes[i], nil
}

// at is the node of an address; nil when there is none.
func (p pool) at(address string) *node {
	for i := range p.Nodes {
		if host, _, err := net.SplitHostPort(p.Nodes[i].Host); err == nil && host == address {
			return &p.Nodes[i]
		}
	}
	return nil
}

// warm fails while the server cannot serve what it has by itself.
func (m *Manager) warm(ctx context.Context) error {
	p, err := m.pool(ctx)
	if err != nil {
		return err
	}
	self, err := p.self()
	if err == nil && self.Status != healthy {
		err = fmt.Errorf("the node is %s", self.Status)
	}
	return err
}

// well fails when the server does not take writes: it is not warm, was failed over, or reaches too few others.
func (m *Manager) well(ctx context.Context) error {
	p, err := m.pool(ctx)
	if err != nil {
		return err
	}
	self, err := p.self()
	if err != nil {
		return err
	}
	all, reached := 0, 0
	for _, n := range p.Nodes {
		if n.Membership != active {
			continue
		}
		all++
		if n.Status == healthy {
			reached++
		}
	}
	switch {
	case self.Status != healthy:
		return fmt.Errorf("the node is %s", self.Status)
	case self.Membership == inactiveFailed:
		return errors.New("the node was failed over: the others go on without it until the cluster is settled")
	case reached*2 <= all:
		return fmt.Errorf("the node reaches %d of %d nodes of its cluster, itself included, which is too few", reached, all)
	}
	return nil
}
