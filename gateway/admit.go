package gateway

import (
	"encoding/json"
	"slices"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
)

// admit lets the members of a replication set through to each other, whatever their allowed_cidrs say: when somebody has
// joined or left, the hosts of all are told: what may enter, and where a sandbox may go.
func (c *carrier) admit() error {
	if len(c.peers) == 0 {
		return nil
	}
	ids := []string{c.before.ID}
	for _, p := range c.peers {
		ids = append(ids, p.ID)
	}
	for _, id := range ids {
		in := c.record(id)
		addresses := c.setOf(*in)
		if in.Host == "" || slices.Equal(in.Firewall.Peers, addresses) || c.d.Gone && id == c.before.ID {
			continue
		}
		in.Firewall.Peers = addresses
		if err := c.tellHost(id); err != nil {
			return err
		}
	}
	return nil
}

// setOf is where the other members of an instance's set are.
func (c *carrier) setOf(in etcdschema.Instance) []string {
	root := in.ReplicaOf
	if root == "" {
		root = in.ID
	}
	var addresses []string
	for _, p := range append([]etcdschema.Instance{c.d.Instance}, c.peers...) {
		m := *c.record(p.ID)
		gone := c.d.Gone && m.ID == c.d.Instance.ID
		if !gone && m.ID != in.ID && m.Address != "" && (m.ID == root || m.ReplicaOf == root) {
			addresses = append(addresses, m.Address)
		}
	}
	slices.Sort(addresses)
	return addresses
}

// tellHost tells a member's host who may reach it. The launch of a new instance says it all by itself.
func (c *carrier) tellHost(id string) error {
	if !c.touch(id) {
		return nil
	}
	op, err := c.Gateway.tellHost(*c.record(id))
	c.put(op)
	return err
}

// tellHost tells the host of an instance that is there who may reach it, whenever it can be told.
func (g *Gateway) tellHost(in etcdschema.Instance) (etcdschema.Op, error) {
	now := g.now().UTC()
	cmd := etcdschema.Command{
		Command: agentpoll.Command{ID: newID(), Method: deployments.MethodProtect, Deadline: now.Add(keepEvents)},
		Project: in.Project, Instance: in.ID, Enqueued: now,
	}
	var err error
	cmd.Args, err = json.Marshal(deployments.ProtectArgs{InstanceID: in.ID, Firewall: in.Firewall})
	return etcdschema.Put(etcdschema.CommandKey(in.Host, cmd.ID), cmd), err
}

// touch makes a member one of those that are written. False for one that is being launched just now.
func (c *carrier) touch(id string) bool {
	if id == c.before.ID {
		return c.before.Operation != nil
	}
	is := func(in etcdschema.Instance) bool { return in.ID == id }
	if !slices.ContainsFunc(c.d.Peers, is) {
		c.d.Peers = append(c.d.Peers, c.peers[slices.IndexFunc(c.peers, is)])
	}
	return true
}
