package plan

import (
	"maps"

	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
)

// Resized writes that an instance has another size into its project's usage, and into what its host has given. It refuses
// nothing: what an instance had is given back to it even when others have taken it meanwhile.
func Resized(s etcdschema.Snapshot, from, to etcdschema.Instance) ([]etcdschema.Op, error) {
	key := etcdschema.UsageKey(from.Project)
	usage, err := etcdschema.Read(s, key)
	if err != nil {
		return nil, err
	}
	ops := []etcdschema.Op{etcdschema.Put(key, ExchangeUsage(usage.Value, from, to))}
	rec, err := Allocator(s, from)
	if err != nil || !rec.Found {
		return ops, err
	}
	host := rec.Value
	host.Allocated = maps.Clone(host.Allocated)
	if host.Allocated == nil {
		host.Allocated = map[string]etcdschema.Allocation{}
	}
	allocation := host.Allocated[from.ID]
	allocation.Capacity = NeedOf(to)
	host.Allocated[from.ID] = allocation
	return append(ops, etcdschema.Put(etcdschema.HostKey(from.Host), host)), nil
}

// ExchangeUsage counts an instance that becomes another size.
func ExchangeUsage(u etcdschema.Usage, from, to etcdschema.Instance) etcdschema.Usage {
	return AddUsage(AddUsage(u, from, -1), to, 1)
}

// Allocator reads the host of an instance; not Found: it has none.
func Allocator(s etcdschema.Snapshot, in etcdschema.Instance) (etcdschema.Record[etcdschema.HostRecord], error) {
	if in.Host == "" {
		return etcdschema.Record[etcdschema.HostRecord]{}, nil
	}
	return etcdschema.Read(s, etcdschema.HostKey(in.Host))
}

// NeedOf is what an instance takes of a host.
func NeedOf(in etcdschema.Instance) deployments.Capacity {
	return deployments.Capacity{MemoryMB: in.Flavor.RAM, VCPUs: in.Flavor.VCPUs, DiskGB: in.VolumeGB}
}

// AddUsage counts an instance in (sign 1) or out (sign -1).
func AddUsage(u etcdschema.Usage, in etcdschema.Instance, sign int) etcdschema.Usage {
	if in.DrillOf != "" {
		u.Drills = max(0, u.Drills+sign)
		return u
	}
	u.Instances = max(0, u.Instances+sign)
	u.RAM = max(0, u.RAM+sign*in.Flavor.RAM)
	u.Volumes = max(0, u.Volumes+sign*in.VolumeGB)
	for _, bytes := range in.LogBytes {
		u.LogBytes = max(0, u.LogBytes+int64(sign)*bytes)
	}
	return u
}
