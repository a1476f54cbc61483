package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// place finds a host and commits the create. When the instance has no host, because that was asked for or because there
// is none, it is stored all the same: waiting for its machine, or in ERROR with a fault that says why.
func (g *Gateway) place(r *request, o order, withoutHost bool) (etcdschema.Instance, string, error) {
	if withoutHost {
		if len(g.AgentURLs) == 0 {
			return o.instance, "", faultf(badRequest, "user_data: the gateway does not know under which URL machines reach it; start it with -agent-urls.")
		}
		token := g.signer.newToken()
		in, err := g.commitCreate(r, o, "", token)
		return in, token.String(), err
	}
	hosts, err := etcdschema.List(r.ctx, g.store, etcdschema.Hosts(), etcdschema.Page{})
	if err != nil {
		return o.instance, "", err
	}
	if o.beside, err = g.hostsBeside(r, o.instance); err != nil {
		return o.instance, "", err
	}
	for _, host := range candidates(hosts.Records, o.servedBy, o.instance, o.need) {
		in, err := g.commitCreate(r, o, host, agentpoll.Token{})
		if !errors.Is(err, errHostFull) {
			return in, "", err
		}
	}
	if o.beside, err = g.hostsBeside(r, o.instance); err != nil { // others may have got there meanwhile
		return o.instance, "", err
	}
	in, err := g.commitFailure(r, o, noHost(hosts.Records, o))
	return in, "", err
}

// hostsBeside is hostsOfSet as it is now.
func (g *Gateway) hostsBeside(r *request, in etcdschema.Instance) (hosts []string, err error) {
	_, err = g.store.Update(r.ctx, nil, func(s etcdschema.Snapshot) (_ []etcdschema.Op, err error) {
		hosts, err = hostsOfSet(s, in)
		return nil, err
	})
	return hosts, err
}

var errHostFull = errors.New("the host cannot take the instance")

// commitCreate stores the instance with its guest options, what it uses, and its first command, in one transaction.
func (g *Gateway) commitCreate(r *request, o order, hostID string, token agentpoll.Token) (etcdschema.Instance, error) {
	refs := []etcdschema.Ref{etcdschema.UsageKey(r.project), etcdschema.QuotaKey(r.project)}
	if hostID != "" {
		refs = append(refs, etcdschema.HostKey(hostID), etcdschema.AgentKey(hostID), etcdschema.PresenceKey(hostID))
	}
	m, err := g.commit(r.ctx, refs, func(s etcdschema.Snapshot) (moves, error) {
		in := o.instance
		ops, err := g.charge(s, in)
		if err != nil {
			return moves{}, err
		}
		if o.beside, err = hostsOfSet(s, in); err != nil {
			return moves{}, err
		}
		if hostID != "" {
			if !o.servedBy(hostID) { // another replica has just got there
				return moves{}, errHostFull
			}
			hostOp, err := g.allocate(s, &in, hostID, o.need)
			if err != nil {
				return moves{}, err
			}
			ops = append(ops, hostOp)
		} else {
			e := etcdschema.Enrolment{Kind: agentpoll.Guest, AgentID: in.ID, Project: in.Project, Created: in.Created}
			ops = append(ops, enrolmentOp(token, e, lifecycle.UsageTimeout(in)))
		}
		if err := g.keys.sealPrepare(&in, o.prepare); err != nil {
			return moves{}, err
		}
		if err := mayFollow(s, in); err != nil {
			return moves{}, err
		}
		for _, join := range []func(etcdschema.Snapshot, etcdschema.Instance) ([]etcdschema.Op, error){joinConfiguration, joinBackups} {
			joined, err := join(s, in)
			if err != nil {
				return moves{}, err
			}
			ops = append(ops, joined...)
		}
		guestKey := etcdschema.InstanceGuestKey(in.ID)
		p := g.plan(etcdschema.With(s, guestKey, o.guest), in, lifecycle.Event{Type: lifecycle.Created, Request: r.id()})
		p.put(append(ops, etcdschema.Put(guestKey, o.guest))...)
		return p.decide()
	})
	return m.after, err
}

// allocate gives the instance a part of the host and an address of it.
func (g *Gateway) allocate(s etcdschema.Snapshot, in *etcdschema.Instance, hostID string, need deployments.Capacity) (etcdschema.Op, error) {
	key := etcdschema.HostKey(hostID)
	rec, err := etcdschema.Read(s, key)
	if err != nil {
		return etcdschema.Op{}, err
	}
	presence, err := etcdschema.Read(s, etcdschema.PresenceKey(hostID))
	if err != nil {
		return etcdschema.Op{}, err
	}
	host := rec.Value
	address := freeAddress(host)
	if !rec.Found || address == "" || !canTake(host, *in, need) || g.reachable(hostID, presence) != nil {
		return etcdschema.Op{}, errHostFull
	}
	if host.Allocated == nil {
		host.Allocated = map[string]etcdschema.Allocation{}
	}
	host.Allocated[in.ID] = etcdschema.Allocation{Capacity: need, Address: address, Project: in.Project}
	in.Host, in.Address = hostID, address
	return etcdschema.Put(key, host), nil
}

// commitFailure stores an instance that could not be placed, so that the tenant can read why. It refers to nothing.
func (g *Gateway) commitFailure(r *request, o order, why string) (etcdschema.Instance, error) {
	in := o.instance
	in.Failed = lifecycle.Create
	in.Fault = &etcdschema.Fault{Message: why, Created: in.Created}
	in.RootEnabled = false
	in.Restore, in.Configuration, in.ReplicaOf = nil, "", ""
	event := etcdschema.Event{At: in.Created, Kind: "fault", Message: why, Request: r.id()}
	told := tell(&in, event)
	_, err := g.store.Update(r.ctx, []etcdschema.Ref{etcdschema.UsageKey(r.project), etcdschema.QuotaKey(r.project)}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		ops, err := g.charge(s, in)
		return slices.Concat(ops, told, []etcdschema.Op{etcdschema.Put(etcdschema.InstanceKey(in.Project, in.ID), in)}), err
	})
	return in, err
}

// noHost says why no host could take the order, as far as it can be told to a tenant.
func noHost(hosts []etcdschema.Record[etcdschema.HostRecord], o order) string {
	var able, roomy, disabled, permitted, others, unfiltered int
	for _, h := range hosts {
		if starts(h.Value, o.instance.Manager) {
			able++
			if h.Value.Disabled {
				disabled++
			}
			if h.Value.Unfiltered && !o.instance.Firewall.Open() {
				unfiltered++
			}
			if !separates(h.Value, o.instance.Project) {
				others++
			}
			if canTake(h.Value, o.instance, o.need) {
				roomy++
				if o.servedBy(etcdschema.Hosts().Name(h.Key)) {
					permitted++
				}
			}
		}
	}
	why := fmt.Sprintf("none of the %d with guests of manager %q has %d MB of memory, %d processors and %d GB of disk free", able, o.instance.Manager, o.need.MemoryMB, o.need.VCPUs, o.need.DiskGB)
	switch {
	case len(hosts) == 0:
		why = "no host has enrolled"
	case able == 0:
		why = fmt.Sprintf("none of the %d hosts has a guest binary %s-guest", len(hosts), o.instance.Manager)
	case disabled == able:
		why = fmt.Sprintf("none of the %d that could takes new instances: they are disabled", able)
	case unfiltered == able:
		why = fmt.Sprintf("none of the %d that could can filter, and access to the instance is restricted", able)
	case others == able:
		why = fmt.Sprintf("none of the %d that could has walls between instances (-driver process), and each has another project's", able)
	case roomy > 0 && permitted == 0 && o.instance.Locality != "":
		why = fmt.Sprintf("the locality of its set, %s, permits none of the %d that could", o.instance.Locality, roomy)
	case roomy > 0:
		why = fmt.Sprintf("the %d that could are not connected, or have no address left", roomy)
	}
	return "No host can serve the instance: " + why + "."
}

// userData writes the cloud-init user-data of a machine that becomes the instance.
func (g *Gateway) userData(in etcdschema.Instance, o order, token string) (string, error) {
	b, err := deployments.CloudInit(datastores.GuestConfig{
		InstanceID: in.ID, Gateways: g.AgentURLs, CA: strings.Join(g.AgentCAs, ","), Token: datastores.NewSecret(token),
		Dir: "/var/lib/coffer-guest", Root: "/", UID: -1, GID: -1, MemoryMB: in.Flavor.RAM,
	}, in.Manager)
	return string(b), err
}
