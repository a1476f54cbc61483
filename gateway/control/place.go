package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
)

// place finds a host and commits the create. When the instance has no host, because that was asked for or because there
// is none, it is stored all the same: waiting for its machine, or in ERROR with a fault that says why.
func (cp *Plane) place(ctx context.Context, c Caller, o order, withoutHost bool) (etcdschema.Instance, string, error) {
	if withoutHost {
		if len(cp.AgentURLs) == 0 {
			return o.instance, "", fault.Errorf(fault.BadRequest, "user_data: the gateway does not know under which URL machines reach it; start it with -agent-urls.")
		}
		token := cp.Signer.NewToken()
		in, err := cp.commitCreate(ctx, c, o, "", token)
		return in, token.String(), err
	}
	hosts, err := etcdschema.List(ctx, cp.Store, etcdschema.Hosts(), etcdschema.Page{})
	if err != nil {
		return o.instance, "", err
	}
	if o.beside, err = cp.hostsBeside(ctx, c, o.instance); err != nil {
		return o.instance, "", err
	}
	for _, host := range candidates(hosts.Records, o.servedBy, o.instance, o.need) {
		in, err := cp.commitCreate(ctx, c, o, host, agentpoll.Token{})
		if !errors.Is(err, errHostFull) {
			return in, "", err
		}
	}
	if o.beside, err = cp.hostsBeside(ctx, c, o.instance); err != nil { // others may have got there meanwhile
		return o.instance, "", err
	}
	in, err := cp.commitFailure(ctx, c, o, noHost(hosts.Records, o))
	return in, "", err
}

// hostsBeside is hostsOfSet as it is now.
func (cp *Plane) hostsBeside(ctx context.Context, c Caller, in etcdschema.Instance) (hosts []string, err error) {
	_, err = cp.Store.Update(ctx, nil, func(s etcdschema.Snapshot) (_ []etcdschema.Op, err error) {
		hosts, err = hostsOfSet(s, in)
		return nil, err
	})
	return hosts, err
}

var errHostFull = errors.New("the host cannot take the instance")

// commitCreate stores the instance with its guest options, what it uses, and its first command, in one transaction.
func (cp *Plane) commitCreate(ctx context.Context, c Caller, o order, hostID string, token agentpoll.Token) (etcdschema.Instance, error) {
	refs := []etcdschema.Ref{etcdschema.UsageKey(c.Project), etcdschema.QuotaKey(c.Project)}
	if hostID != "" {
		refs = append(refs, etcdschema.HostKey(hostID), etcdschema.AgentKey(hostID), etcdschema.PresenceKey(hostID))
	}
	m, err := cp.Commit(ctx, refs, func(s etcdschema.Snapshot) (plan.Moves, error) {
		in := o.instance
		ops, err := cp.charge(s, in)
		if err != nil {
			return plan.Moves{}, err
		}
		if o.beside, err = hostsOfSet(s, in); err != nil {
			return plan.Moves{}, err
		}
		if hostID != "" {
			if !o.servedBy(hostID) { // another replica has just got there
				return plan.Moves{}, errHostFull
			}
			hostOp, err := cp.allocate(s, &in, hostID, o.need)
			if err != nil {
				return plan.Moves{}, err
			}
			ops = append(ops, hostOp)
		} else {
			e := etcdschema.Enrolment{Kind: agentpoll.Guest, AgentID: in.ID, Project: in.Project, Created: in.Created}
			ops = append(ops, plan.EnrolmentOp(token, e, lifecycle.UsageTimeout(in)))
		}
		if err := plan.SealPrepare(cp.Keys, &in, o.prepare); err != nil {
			return plan.Moves{}, err
		}
		if err := plan.MayFollow(s, in); err != nil {
			return plan.Moves{}, err
		}
		for _, join := range []func(etcdschema.Snapshot, etcdschema.Instance) ([]etcdschema.Op, error){plan.JoinConfiguration, plan.JoinBackups} {
			joined, err := join(s, in)
			if err != nil {
				return plan.Moves{}, err
			}
			ops = append(ops, joined...)
		}
		guestKey := etcdschema.InstanceGuestKey(in.ID)
		p := cp.Plan(etcdschema.With(s, guestKey, o.guest), in, lifecycle.Event{Type: lifecycle.Created, Request: c.Request})
		p.Put(append(ops, etcdschema.Put(guestKey, o.guest))...)
		return p.Decide()
	})
	return m.After, err
}

// allocate gives the instance a part of the host and an address of it.
func (cp *Plane) allocate(s etcdschema.Snapshot, in *etcdschema.Instance, hostID string, need deployments.Capacity) (etcdschema.Op, error) {
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
	if !rec.Found || address == "" || !canTake(host, *in, need) || cp.reachable(hostID, presence) != nil {
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
func (cp *Plane) commitFailure(ctx context.Context, c Caller, o order, why string) (etcdschema.Instance, error) {
	in := o.instance
	in.Failed = lifecycle.Create
	in.Fault = &etcdschema.Fault{Message: why, Created: in.Created}
	in.RootEnabled = false
	in.Restore, in.Configuration, in.ReplicaOf = nil, "", ""
	event := etcdschema.Event{At: in.Created, Kind: "fault", Message: why, Request: c.Request}
	told := plan.Tell(&in, event)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{etcdschema.UsageKey(c.Project), etcdschema.QuotaKey(c.Project)}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		ops, err := cp.charge(s, in)
		return slices.Concat(ops, told, []etcdschema.Op{etcdschema.Put(etcdschema.InstanceKey(in.Project, in.ID), in)}), err
	})
	return in, err
}

// noHost says why no host could take the order, as far as it can be told to a tenant.
func noHost(hosts []etcdschema.Record[etcdschema.HostRecord], o order) string {
	var able, roomy, disabled, permitted, others, unfiltered int
	for _, h := range hosts {
		if o.hosts[etcdschema.Hosts().Name(h.Key)].Starts(o.instance.Manager) {
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
func (cp *Plane) userData(in etcdschema.Instance, o order, token string) (string, error) {
	b, err := deployments.CloudInit(datastores.GuestConfig{
		InstanceID: in.ID, Gateways: cp.AgentURLs, CA: strings.Join(cp.Signer.CAs, ","), Token: datastores.NewSecret(token),
		Dir: "/var/lib/coffer-guest", Root: "/", UID: -1, GID: -1, MemoryMB: in.Flavor.RAM,
	}, in.Manager)
	return string(b), err
}

// candidates returns the hosts that could take an instance of need, the one with most free memory first. serves reports
// whether a host can serve what the instance is defined as.
func candidates(hosts []etcdschema.Record[etcdschema.HostRecord], serves func(host string) bool, in etcdschema.Instance, need deployments.Capacity) []string {
	type candidate struct {
		id   string
		free int
	}
	var fit []candidate
	for _, h := range hosts {
		if id := etcdschema.Hosts().Name(h.Key); canTake(h.Value, in, need) && serves(id) {
			fit = append(fit, candidate{id, Free(h.Value).MemoryMB})
		}
	}
	slices.SortFunc(fit, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.free, a.free), cmp.Compare(a.id, b.id))
	})
	ids := make([]string, len(fit))
	for i, c := range fit {
		ids[i] = c.id
	}
	return ids
}

func canTake(h etcdschema.HostRecord, in etcdschema.Instance, need deployments.Capacity) bool {
	f := Free(h)
	return !h.Disabled && separates(h, in.Project) && (in.Firewall.Open() || !h.Unfiltered) &&
		f.MemoryMB >= need.MemoryMB && f.VCPUs >= need.VCPUs && f.DiskGB >= need.DiskGB
}

// separates reports whether a host keeps the project's instances apart from others': without walls it takes those of one
// project only.
func separates(h etcdschema.HostRecord, project string) bool {
	if h.Driver != deployments.DriverProcess {
		return true
	}
	for _, a := range h.Allocated {
		if a.Project != project {
			return false
		}
	}
	return true
}

// Free is what a host has left. Processors are shared: an instance needs as many as the machine has, not to itself.
func Free(h etcdschema.HostRecord) deployments.Capacity {
	left := h.Capacity
	for _, a := range h.Allocated {
		left.MemoryMB -= a.MemoryMB
		left.DiskGB -= a.DiskGB
	}
	return left
}

// freeAddress picks the lowest address of the host's pool that no instance has; "" when the pool is used up.
func freeAddress(h etcdschema.HostRecord) string {
	if h.Pool.IsZero() {
		return ""
	}
	used := map[string]bool{}
	for _, a := range h.Allocated {
		used[a.Address] = true
	}
	address, ok := h.Pool.Free(func(a netip.Addr) bool { return used[a.String()] })
	if !ok {
		return ""
	}
	return address.String()
}
