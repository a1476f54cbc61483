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
func (cp *Plane) place(ctx context.Context, c Caller, o order, withoutHost bool) (lifecycle.Member, string, error) {
	if withoutHost {
		if o.instance.Zone != "" {
			return lifecycle.Alone(o.instance), "", fault.Errorf(fault.BadRequest, "A machine of its own is where you boot it; leave availability_zone out.")
		}
		if len(cp.AgentURLs) == 0 {
			return lifecycle.Alone(o.instance), "", fault.Errorf(fault.BadRequest, "user_data: the gateway does not know under which URL machines reach it; start it with -agent-urls.")
		}
		token := cp.Signer.NewToken()
		in, err := cp.commitCreate(ctx, c, o, "", token)
		return in, token.String(), err
	}
	hosts, err := etcdschema.List(ctx, cp.Store, etcdschema.Hosts(), etcdschema.Page{})
	if err != nil {
		return lifecycle.Alone(o.instance), "", err
	}
	if err := knownZone(o.instance.Zone, hosts.Records); err != nil {
		return lifecycle.Alone(o.instance), "", err
	}
	if o.beside, err = cp.hostsBeside(ctx, o); err != nil {
		return lifecycle.Alone(o.instance), "", err
	}
	for _, host := range o.candidates(hosts.Records) {
		in, err := cp.commitCreate(ctx, c, o, host, agentpoll.Token{})
		if !errors.Is(err, errHostFull) {
			return in, "", err
		}
	}
	if o.beside, err = cp.hostsBeside(ctx, o); err != nil { // others may have got there meanwhile
		return lifecycle.Alone(o.instance), "", err
	}
	if o.instance.DrillOf != "" {
		return lifecycle.Alone(o.instance), "", fault.Errorf(fault.Unprocessable, "%s", o.noHost(hosts.Records))
	}
	in, err := cp.commitFailure(ctx, c, o, o.noHost(hosts.Records))
	return in, "", err
}

// hostsBeside are the hosts of the set that what is ordered joins, as it is now.
func (cp *Plane) hostsBeside(ctx context.Context, o order) (hosts []string, err error) {
	if o.source == "" {
		return nil, nil
	}
	_, err = cp.Store.Update(ctx, nil, func(s etcdschema.Snapshot) (_ []etcdschema.Op, err error) {
		source, err := sourceOf(s, o.instance.Project, o.source)
		if err == nil {
			hosts, err = hostsBeside(s, source, o.instance.ID, o.instance.Locality)
		}
		return nil, err
	})
	return hosts, err
}

var errHostFull = errors.New("the host cannot take the instance")

// commitCreate stores the instance with its guest options, what it uses, and its first command, in one transaction.
func (cp *Plane) commitCreate(ctx context.Context, c Caller, o order, hostID string, token agentpoll.Token) (lifecycle.Member, error) {
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
		member := lifecycle.Alone(in)
		if o.source != "" {
			source, err := sourceOf(s, in.Project, o.source)
			if err != nil {
				return plan.Moves{}, err
			}
			if err := plan.MayFollow(source, in); err != nil {
				return plan.Moves{}, err
			}
			if o.beside, err = hostsBeside(s, source, in.ID, in.Locality); err != nil {
				return plan.Moves{}, err
			}
			member.Set = source.Set
		}
		if hostID != "" {
			host, err := cp.allocate(s, &in, hostID, o)
			if err != nil {
				return plan.Moves{}, err
			}
			ops = append(ops, etcdschema.Put(etcdschema.HostKey(hostID), host))
		} else {
			e := etcdschema.Enrolment{Kind: agentpoll.Guest, AgentID: in.ID, Project: in.Project, Created: in.Created}
			ops = append(ops, plan.EnrolmentOp(token, e, lifecycle.UsageTimeout(in)))
		}
		if err := plan.SealPrepare(cp.Keys, &in, o.prepare); err != nil {
			return plan.Moves{}, err
		}
		for _, join := range []func(etcdschema.Snapshot, etcdschema.Instance) ([]etcdschema.Op, error){plan.JoinConfiguration, plan.JoinModules, plan.JoinBackups, plan.JoinArchive} {
			joined, err := join(s, in)
			if err != nil {
				return plan.Moves{}, err
			}
			ops = append(ops, joined...)
		}
		if o.also != nil {
			added, err := o.also(s, in)
			if err != nil {
				return plan.Moves{}, err
			}
			ops = append(ops, added...)
		}
		member.Instance = in
		guestKey := etcdschema.InstanceGuestKey(in.ID)
		p := cp.Plan(etcdschema.With(s, guestKey, o.guest), member, lifecycle.Event{Type: lifecycle.Created, Source: o.source, Request: c.Request, By: c.Who.UserName})
		p.Put(append(ops, etcdschema.Put(guestKey, o.guest))...)
		return p.Decide()
	})
	return m.After, err
}

// allocate gives the instance a part of the host and an address of it.
func (cp *Plane) allocate(s etcdschema.Snapshot, in *etcdschema.Instance, hostID string, o order) (etcdschema.HostRecord, error) {
	rec, err := etcdschema.Read(s, etcdschema.HostKey(hostID))
	if err != nil {
		return rec.Value, err
	}
	away, _, err := cp.away(s, hostID)
	if err != nil {
		return rec.Value, err
	}
	host := rec.Value
	address := freeAddress(host)
	fit, _ := o.fitting([]etcdschema.Record[etcdschema.HostRecord]{rec})
	_, has := host.Allocated[in.ID] // which it has left, and the host has not removed yet
	if !rec.Found || has || address == "" || len(fit) == 0 || away {
		return host, errHostFull
	}
	if host.Allocated == nil {
		host.Allocated = map[string]etcdschema.Allocation{}
	}
	host.Allocated[in.ID] = etcdschema.Allocation{Capacity: o.need, Address: address, Project: in.Project}
	in.Host, in.Address = hostID, address
	if in.DrillOf != "" && !host.Unfiltered {
		in.Firewall.Closed = true
	}
	return host, nil
}

// commitFailure stores an instance that could not be placed, so that the tenant can read why. It refers to nothing.
func (cp *Plane) commitFailure(ctx context.Context, c Caller, o order, why string) (lifecycle.Member, error) {
	in := o.instance
	in.Failed = lifecycle.Create
	in.Fault = &etcdschema.Fault{Message: why, Created: in.Created}
	in.RootEnabled = false
	in.Restore, in.Configuration = nil, ""
	event := etcdschema.Event{At: in.Created, Kind: "fault", Message: why, Request: c.Request}
	told := plan.Tell(&in, event)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{etcdschema.UsageKey(c.Project), etcdschema.QuotaKey(c.Project)}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		ops, err := cp.charge(s, in)
		return slices.Concat(ops, told, []etcdschema.Op{etcdschema.Put(etcdschema.InstanceKey(in.Project, in.ID), in)}), err
	})
	return lifecycle.Alone(in), err
}

// condition is what a host must meet to get what is ordered. why says, with the number of hosts that meet those before, that none is
// left.
type condition struct {
	why string
	met func(id string, h etcdschema.HostRecord) bool
}

// conditions are in the order in which they are worth telling.
func (o order) conditions() []condition {
	in := o.instance
	return []condition{
		{"none of the %d hosts has a guest binary " + in.Manager + "-guest", func(id string, _ etcdschema.HostRecord) bool {
			return o.hosts[id].Starts(in.Manager)
		}},
		{"none of the %d that could takes new instances: they are disabled", func(_ string, h etcdschema.HostRecord) bool {
			return !h.Disabled
		}},
		{"none of the %d that could can filter, and access to the instance is restricted, or nobody may reach it while it moves, or its cluster has ports that are for members alone", func(_ string, h etcdschema.HostRecord) bool {
			return in.Firewall.Open() && !o.walled || !h.Unfiltered
		}},
		{"none of the %d that could has walls between instances (-driver process), and each has another project's", func(_ string, h etcdschema.HostRecord) bool {
			return separates(h, in.Project)
		}},
		{"none of the %d that could is in availability zone " + in.Zone, func(_ string, h etcdschema.HostRecord) bool {
			return in.Zone == "" || in.Zone == h.Zone
		}},
		{"none of the %d that could has the labels " + o.version.Server.Requires.String() + ", which the datastore version requires", func(_ string, h etcdschema.HostRecord) bool {
			return o.version.Server.Requires.Within(h.Labels)
		}},
		{fmt.Sprintf("none of the %%d with guests of manager %q has %d MB of memory, %d processors and %d GB of disk free", in.Manager, o.need.MemoryMB, o.need.VCPUs, o.need.DiskGB),
			func(_ string, h etcdschema.HostRecord) bool {
				f := Free(h)
				return f.MemoryMB >= o.need.MemoryMB && f.VCPUs >= o.need.VCPUs && f.DiskGB >= o.need.DiskGB
			}},
		{"none of the %d that could can serve the datastore version", func(id string, _ etcdschema.HostRecord) bool {
			return o.hosts[id].Serves(deployments.Definition{Manager: in.Manager, Image: in.Image, Guest: o.guest})
		}},
		{"the locality of its set, " + in.Locality + ", permits none of the %d that could", func(id string, _ etcdschema.HostRecord) bool {
			return o.permits(id)
		}},
	}
}

// permits reports whether the locality of the set permits a host.
func (o order) permits(host string) bool {
	taken := slices.Contains(o.beside, host)
	return len(o.beside) == 0 || (o.instance.Locality != affinity || taken) && (o.instance.Locality != antiAffinity || !taken)
}

// fitting are the hosts that meet all conditions; when there is none, why says so, as far as it can be told to a tenant.
func (o order) fitting(hosts []etcdschema.Record[etcdschema.HostRecord]) (fit []etcdschema.Record[etcdschema.HostRecord], why string) {
	if len(hosts) == 0 {
		return nil, "no host has enrolled"
	}
	fit = slices.Clone(hosts)
	for _, c := range o.conditions() {
		before := len(fit)
		fit = slices.DeleteFunc(fit, func(h etcdschema.Record[etcdschema.HostRecord]) bool {
			return !c.met(etcdschema.Hosts().Name(h.Key), h.Value)
		})
		if len(fit) == 0 {
			return nil, fmt.Sprintf(c.why, before)
		}
	}
	return fit, ""
}

// noHost says why no host has taken the order.
func (o order) noHost(hosts []etcdschema.Record[etcdschema.HostRecord]) string {
	fit, why := o.fitting(hosts)
	if why == "" {
		why = fmt.Sprintf("the %d that could are not connected, or have no address left", len(fit))
	}
	return "No host can serve the instance: " + why + "."
}

// knownZone refuses an availability zone that no host is in.
func knownZone(zone string, hosts []etcdschema.Record[etcdschema.HostRecord]) error {
	var zones []string
	for _, h := range hosts {
		zones = append(zones, h.Value.Zone)
	}
	if zone == "" || slices.Contains(zones, zone) {
		return nil
	}
	slices.Sort(zones)
	zones = slices.DeleteFunc(slices.Compact(zones), func(z string) bool { return z == "" })
	if len(zones) == 0 {
		return fault.Errorf(fault.BadRequest, "Availability zone %q is unknown: hosts are in none. Leave availability_zone out.", zone)
	}
	return fault.Errorf(fault.BadRequest, "Availability zone %q is unknown; there are: %s.", zone, strings.Join(zones, ", "))
}

// userData writes the cloud-init user-data of a machine that becomes the instance.
func (cp *Plane) userData(in etcdschema.Instance, o order, token string) (string, error) {
	b, err := deployments.CloudInit(datastores.GuestConfig{
		InstanceID: in.ID, Gateways: cp.AgentURLs, CA: strings.Join(cp.Signer.CAs, ","), Token: datastores.NewSecret(token),
		Dir: "/var/lib/coffer-guest", Root: "/", UID: -1, GID: -1, MemoryMB: in.Flavor.RAM,
	}, in.Manager)
	return string(b), err
}

// candidates are the hosts that could take what is ordered, the best one first: replicas that must not share a host go where the
// fewest of their set are, zone by zone; after that counts free memory.
func (o order) candidates(hosts []etcdschema.Record[etcdschema.HostRecord]) []string {
	inZone := map[string]int{}
	for _, h := range hosts {
		if o.instance.Locality == antiAffinity && slices.Contains(o.beside, etcdschema.Hosts().Name(h.Key)) {
			inZone[h.Value.Zone]++
		}
	}
	fit, _ := o.fitting(hosts)
	slices.SortFunc(fit, func(a, b etcdschema.Record[etcdschema.HostRecord]) int {
		return cmp.Or(cmp.Compare(inZone[a.Value.Zone], inZone[b.Value.Zone]), cmp.Compare(Free(b.Value).MemoryMB, Free(a.Value).MemoryMB), cmp.Compare(a.Key, b.Key))
	})
	var ids []string
	for _, h := range fit {
		ids = append(ids, etcdschema.Hosts().Name(h.Key))
	}
	return ids
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
