package plan

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
)

// letThrough lets the members of a replication set through to each other, whatever their allowed_cidrs say: when somebody has
// joined or left, the hosts of all are told: what may enter, and where a sandbox may go.
func (p *Plan) letThrough() error {
	if len(p.peers) == 0 {
		return nil
	}
	ids := []string{p.Before.ID}
	for _, peer := range p.peers {
		ids = append(ids, peer.ID)
	}
	for _, id := range ids {
		in := p.record(id)
		addresses := p.setOf(*in)
		if in.Host == "" || slices.Equal(in.Firewall.Peers, addresses) || p.d.Gone && id == p.Before.ID {
			continue
		}
		in.Firewall.Peers = addresses
		if err := p.tellHost(id); err != nil {
			return err
		}
	}
	return nil
}

// setOf is where the other members of an instance's set are.
func (p *Plan) setOf(in etcdschema.Instance) []string {
	root := in.ReplicaOf
	if root == "" {
		root = in.ID
	}
	var addresses []string
	for _, peer := range append([]etcdschema.Instance{p.d.Instance}, p.peers...) {
		m := *p.record(peer.ID)
		gone := p.d.Gone && m.ID == p.d.Instance.ID
		if !gone && m.ID != in.ID && m.Address != "" && (m.ID == root || m.ReplicaOf == root) {
			addresses = append(addresses, m.Address)
		}
	}
	slices.Sort(addresses)
	return addresses
}

// tellHost tells a member's host who may reach it. The launch of a new instance says it all by itself.
func (p *Plan) tellHost(id string) error {
	if !p.touch(id) {
		return nil
	}
	op, err := p.signer.Protect(*p.record(id), p.now)
	p.Put(op)
	return err
}

// Protect tells the host of an instance that is there who may reach it, whenever it can be told.
func (s Signer) Protect(in etcdschema.Instance, now time.Time) (etcdschema.Op, error) {
	cmd := etcdschema.Command{
		Command: agentpoll.Command{ID: NewID(), Method: deployments.MethodProtect, Deadline: now.Add(keepEvents)},
		Project: in.Project, Instance: in.ID, Enqueued: now,
	}
	var err error
	cmd.Args, err = json.Marshal(deployments.ProtectArgs{InstanceID: in.ID, Firewall: in.Firewall})
	return s.Command(in.Host, cmd), err
}

// touch marks a member's record to be written. It reports false while the member is being launched.
func (p *Plan) touch(id string) bool {
	if id == p.Before.ID {
		return p.Before.Operation != nil
	}
	is := func(in etcdschema.Instance) bool { return in.ID == id }
	if !slices.ContainsFunc(p.d.Peers, is) {
		p.d.Peers = append(p.d.Peers, p.peers[slices.IndexFunc(p.peers, is)])
	}
	return true
}
