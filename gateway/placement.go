package gateway

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
)

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
			fit = append(fit, candidate{id, free(h.Value).MemoryMB})
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
	f := free(h)
	return !h.Disabled && starts(h, in.Manager) && separates(h, in.Project) && (in.Firewall.Open() || !h.Unfiltered) &&
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

// free is what a host has left. Processors are shared: an instance needs as many as the machine has, not to itself.
func free(h etcdschema.HostRecord) deployments.Capacity {
	left := h.Capacity
	for _, a := range h.Allocated {
		left.MemoryMB -= a.MemoryMB
		left.DiskGB -= a.DiskGB
	}
	return left
}

func starts(h etcdschema.HostRecord, manager string) bool {
	return slices.Contains(h.Managers, manager)
}

// freeAddress picks the lowest address of the host's pool that no instance has; "" when the pool is used up.
func freeAddress(h etcdschema.HostRecord) string {
	pool, err := deployments.ParsePool(h.Pool)
	if err != nil {
		return ""
	}
	used := map[string]bool{}
	for _, a := range h.Allocated {
		used[a.Address] = true
	}
	address, ok := pool.Free(func(a netip.Addr) bool { return used[a.String()] })
	if !ok {
		return ""
	}
	return address.String()
}
