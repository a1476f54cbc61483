package gateway

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/etcdschema"
)

// Limits of a project that nobody has set, Trove's: max_instances_per_tenant and its fellows.
const (
	defaultInstances      = 10
	defaultRAM            = -1 // MB; no limit
	defaultVolumes        = 40 // GB
	defaultBackups        = 50
	defaultConfigurations = 100
	defaultBackupGB       = 1000 // Cinder's backup_gigabytes
	defaultLogGB          = 10
)

// resource is one row of a quota.
type resource struct {
	name  string
	limit int
	inUse int
	exact int64 // in use, in the unit that is counted
}

// resources puts a project's limits and usage together, in Trove's order.
func (g *Gateway) resources(q etcdschema.Quota, u etcdschema.Usage) []resource {
	var all []resource
	for _, row := range quotaRows(&q) {
		limit := int(g.Limits.value(row.name))
		if *row.own != nil {
			limit = **row.own
		}
		exact := row.inUse(u)
		all = append(all, resource{row.name, limit, int((exact + row.unit - 1) / row.unit), exact})
	}
	return all
}

// quotaRow is one thing that a project has a quota of.
type quotaRow struct {
	name  string
	own   **int // the project's limit in q
	inUse func(etcdschema.Usage) int64
	unit  int64 // how many of what is counted are one of the quota
}

// quotaRows are all of them, in Trove's order, then those that it has not.
func quotaRows(q *etcdschema.Quota) []quotaRow {
	type usage = etcdschema.Usage
	return []quotaRow{
		{"instances", &q.Instances, func(u usage) int64 { return int64(u.Instances) }, 1},
		{"ram", &q.RAM, func(u usage) int64 { return int64(u.RAM) }, 1},
		{"volumes", &q.Volumes, func(u usage) int64 { return int64(u.Volumes) }, 1},
		{"backups", &q.Backups, func(u usage) int64 { return int64(u.Backups) }, 1},
		{"configurations", &q.Configurations, func(u usage) int64 { return int64(u.Configurations) }, 1},
		{"backup_gigabytes", &q.BackupGB, func(u usage) int64 { return u.BackupBytes }, 1 << 30},
		{"log_gigabytes", &q.LogGB, func(u usage) int64 { return u.LogBytes }, 1 << 30},
	}
}

// charge adds an instance to what its project uses, or refuses with 413 what would be too much.
func (g *Gateway) charge(s etcdschema.Snapshot, in etcdschema.Instance) ([]etcdschema.Op, error) {
	return g.account(s, in.Project, func(u etcdschema.Usage) etcdschema.Usage { return addUsage(u, in, 1) })
}

// roomFor refuses with 413 when a project may not have several such instances more, before the first is made.
func (g *Gateway) roomFor(r *request, in etcdschema.Instance, count int) error {
	refs := []etcdschema.Ref{etcdschema.UsageKey(in.Project), etcdschema.QuotaKey(in.Project)}
	_, err := g.store.Update(r.ctx, refs, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		_, err := g.account(s, in.Project, func(u etcdschema.Usage) etcdschema.Usage {
			for range count {
				u = addUsage(u, in, 1)
			}
			return u
		})
		return nil, err
	})
	return err
}

// account changes what a project uses; what would be more of something than before, and too much, is refused with 413.
func (g *Gateway) account(s etcdschema.Snapshot, project string, change func(etcdschema.Usage) etcdschema.Usage) ([]etcdschema.Op, error) {
	usageKey := etcdschema.UsageKey(project)
	usage, err := etcdschema.Read(s, usageKey)
	if err != nil {
		return nil, err
	}
	quota, err := etcdschema.Read(s, etcdschema.QuotaKey(project))
	if err != nil {
		return nil, err
	}
	after := change(usage.Value)
	before := g.resources(quota.Value, usage.Value)
	for i, res := range g.resources(quota.Value, after) {
		if res.limit >= 0 && res.inUse > res.limit && res.exact > before[i].exact {
			return nil, over(res.name, overLimit, "Quota exceeded for resources: %s (the project would use %d of %d). Delete what is not needed, or have an administrator raise the quota.", res.name, res.inUse, res.limit)
		}
	}
	return []etcdschema.Op{etcdschema.Put(usageKey, after)}, nil
}

// exchange accounts for an instance that becomes another size, see resized. It refuses with 413 what exceeds the project's
// quota, and with 422 what its host does not have.
func (g *Gateway) exchange(s etcdschema.Snapshot, from, to etcdschema.Instance) ([]etcdschema.Op, error) {
	if _, err := g.account(s, from.Project, func(u etcdschema.Usage) etcdschema.Usage { return addUsage(addUsage(u, from, -1), to, 1) }); err != nil {
		return nil, err
	}
	rec, err := allocator(s, from)
	if err != nil {
		return nil, err
	}
	if !rec.Found {
		return resized(s, from, to)
	}
	need, had, left := needOf(to), rec.Value.Allocated[from.ID], free(rec.Value)
	if need.MemoryMB-had.MemoryMB > max(0, left.MemoryMB) || need.VCPUs > max(had.VCPUs, left.VCPUs) || need.DiskGB-had.DiskGB > max(0, left.DiskGB) {
		return nil, faultf(unprocessable, "The host of instance %s has %d MB of memory, %d processors and %d GB of disk left, too little for it.", from.ID, left.MemoryMB, left.VCPUs, left.DiskGB)
	}
	return resized(s, from, to)
}

// resized writes that an instance has another size into its project's usage, and into what its host has given. It refuses
// nothing: what an instance had is given back to it even when others have taken it meanwhile.
func resized(s etcdschema.Snapshot, from, to etcdschema.Instance) ([]etcdschema.Op, error) {
	key := etcdschema.UsageKey(from.Project)
	usage, err := etcdschema.Read(s, key)
	if err != nil {
		return nil, err
	}
	ops := []etcdschema.Op{etcdschema.Put(key, addUsage(addUsage(usage.Value, from, -1), to, 1))}
	rec, err := allocator(s, from)
	if err != nil || !rec.Found {
		return ops, err
	}
	host := rec.Value
	host.Allocated = maps.Clone(host.Allocated)
	if host.Allocated == nil {
		host.Allocated = map[string]etcdschema.Allocation{}
	}
	allocation := host.Allocated[from.ID]
	allocation.Capacity = needOf(to)
	host.Allocated[from.ID] = allocation
	return append(ops, etcdschema.Put(etcdschema.HostKey(from.Host), host)), nil
}

// allocator reads the host of an instance; not Found: it has none.
func allocator(s etcdschema.Snapshot, in etcdschema.Instance) (etcdschema.Record[etcdschema.HostRecord], error) {
	if in.Host == "" {
		return etcdschema.Record[etcdschema.HostRecord]{}, nil
	}
	return etcdschema.Read(s, etcdschema.HostKey(in.Host))
}

// needOf is what an instance takes of a host.
func needOf(in etcdschema.Instance) deployments.Capacity {
	return deployments.Capacity{MemoryMB: in.Flavor.RAM, VCPUs: in.Flavor.VCPUs, DiskGB: in.VolumeGB}
}

// addUsage counts an instance in (sign 1) or out (sign -1).
func addUsage(u etcdschema.Usage, in etcdschema.Instance, sign int) etcdschema.Usage {
	u.Instances = max(0, u.Instances+sign)
	u.RAM = max(0, u.RAM+sign*in.Flavor.RAM)
	u.Volumes = max(0, u.Volumes+sign*in.VolumeGB)
	for _, bytes := range in.LogBytes {
		u.LogBytes = max(0, u.LogBytes+int64(sign)*bytes)
	}
	return u
}

// quota reads a project's limits and usage; one that was never set or counted is empty.
func (g *Gateway) quota(r *request, project string) (q etcdschema.Quota, u etcdschema.Usage, err error) {
	quota, err := etcdschema.Get(r.ctx, g.store, etcdschema.QuotaKey(project))
	if err != nil && !errors.Is(err, etcdschema.ErrNotFound) {
		return q, u, err
	}
	usage, err := etcdschema.Get(r.ctx, g.store, etcdschema.UsageKey(project))
	if err != nil && !errors.Is(err, etcdschema.ErrNotFound) {
		return q, u, err
	}
	return quota.Value, usage.Value, nil
}

func (g *Gateway) limits(r *request) (reply, error) {
	q, u, err := g.quota(r, r.project)
	if err != nil {
		return reply{}, err
	}
	absolute := map[string]any{"verb": "ABSOLUTE"}
	for _, res := range g.resources(q, u) {
		absolute["max_"+res.name] = res.limit
	}
	return reply{http.StatusOK, map[string]any{"limits": append([]any{absolute}, g.Limits.rates(r.project, g.now())...)}}, nil
}

// showQuotas shows a project's own to everybody in it, and any to admins.
func (g *Gateway) showQuotas(r *request) (reply, error) {
	project := r.param("tenant")
	if project != r.project && !r.who.Admin() {
		return reply{}, faultf(unauthorized, "Another project's quotas need the role admin.")
	}
	q, u, err := g.quota(r, project)
	if err != nil {
		return reply{}, err
	}
	views := []map[string]any{}
	for _, res := range g.resources(q, u) {
		views = append(views, map[string]any{"resource": res.name, "in_use": res.inUse, "reserved": 0, "limit": res.limit})
	}
	return reply{http.StatusOK, map[string]any{"quotas": views}}, nil
}

func (g *Gateway) updateQuotas(r *request) (reply, error) {
	body, err := decode[struct {
		Quotas map[string]*int `json:"quotas"`
	}](r)
	if err != nil {
		return reply{}, err
	}
	if len(body.Quotas) == 0 {
		return reply{}, faultf(badRequest, "Validation error: 'quotas' must hold at least one resource with its limit.")
	}
	for name, limit := range body.Quotas {
		if limit == nil || *limit < -1 {
			return reply{}, faultf(badRequest, "The quota of %s must be a number: -1 (no limit) or more.", name)
		}
	}
	key := etcdschema.QuotaKey(r.param("tenant"))
	_, err = g.store.Update(r.ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		q := rec.Value
		rows := quotaRows(&q)
		for name, limit := range body.Quotas {
			i := slices.IndexFunc(rows, func(row quotaRow) bool { return row.name == name })
			if i < 0 {
				return nil, faultf(itemNotFound, "Quota resource %s is unknown; there are %s.", name, names(rows))
			}
			*rows[i].own = limit
		}
		return []etcdschema.Op{etcdschema.Put(key, q)}, nil
	})
	return reply{http.StatusOK, map[string]any{"quotas": body.Quotas}}, err
}

func names(rows []quotaRow) string {
	var all []string
	for _, row := range rows {
		all = append(all, row.name)
	}
	return strings.Join(all, ", ")
}
