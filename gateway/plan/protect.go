package plan

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// letThrough lets the members of a set through to each other, whatever their allowed_cidrs say: when somebody has
// joined or left, or is elsewhere, the hosts of all are told: what may enter, and where a sandbox may go.
func (p *Plan) letThrough() error {
	was, is := addressesIn(p.Before.Set), addressesIn(p.d.Set)
	if maps.Equal(was, is) {
		return nil
	}
	maps.Copy(was, is)
	for _, id := range slices.Sorted(maps.Keys(was)) {
		self := id == p.Before.ID
		if self && p.d.Gone {
			continue
		}
		in, err := p.touch(id)
		if err != nil {
			return err
		}
		addresses := OthersIn(p.d.Set, *in)
		if in.Host == "" || slices.Equal(in.Firewall.Peers, addresses) {
			continue
		}
		in.Firewall.Peers = addresses
		if lifecycle.StepOf(*in) == lifecycle.Launching {
			continue // its launch says it all
		}
		op, err := p.signer.Protect(*in, p.now)
		p.Put(op)
		if err != nil {
			return err
		}
	}
	return nil
}

// addressesIn are the addresses of a set's members, by their ids.
func addressesIn(set etcdschema.Set) map[string]string {
	addresses := map[string]string{}
	for _, m := range set.Members {
		addresses[m.ID] = m.Address
	}
	return addresses
}

// OthersIn is where the other members of an instance's set are; none, when it is not in the set.
func OthersIn(set etcdschema.Set, in etcdschema.Instance) (addresses []string) {
	for _, m := range set.Members {
		if in.SetID == set.ID && m.ID != in.ID && m.Address != "" {
			addresses = append(addresses, m.Address)
		}
	}
	slices.Sort(addresses)
	return addresses
}

// wall is who may reach an instance now. Nobody may while its server arrives: clients that knew the address from before would write to it.
func wall(in etcdschema.Instance) deployments.Firewall {
	f := in.Firewall
	if lifecycle.Arriving(in) {
		f.CIDRs, f.Closed = nil, true
	}
	return f
}

// Protect tells the host of an instance that is there who may reach it, whenever it can be told.
func (s Signer) Protect(in etcdschema.Instance, now time.Time) (etcdschema.Op, error) {
	cmd := etcdschema.Command{
		Command: agentpoll.Command{ID: NewID(), Method: deployments.MethodProtect, Deadline: now.Add(keepEvents)},
		Project: in.Project, Instance: in.ID, Enqueued: now,
	}
	var err error
	cmd.Args, err = json.Marshal(deployments.ProtectArgs{InstanceID: in.ID, Firewall: wall(in)})
	return s.Command(in.Host, cmd), err
}
