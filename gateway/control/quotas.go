package control

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/limits"
	"github.com/cofferdb/coffer/gateway/plan"
)

// Resource is one row of a quota.
type Resource struct {
	Name  string
	Limit int
	InUse int
	exact int64 // in use, in the unit that is counted
}

// resources puts a project's limits and usage together, in Trove's order.
func (cp *Plane) resources(q etcdschema.Quota, u etcdschema.Usage) []Resource {
	var all []Resource
	for _, row := range quotaRows(&q) {
		limit := int(cp.Limits.Value(row.name))
		if *row.own != nil {
			limit = **row.own
		}
		exact := row.inUse(u)
		all = append(all, Resource{row.name, limit, int((exact + row.unit - 1) / row.unit), exact})
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
		{"drills", &q.Drills, func(u usage) int64 { return int64(u.Drills) }, 1},
		{"modules", &q.Modules, func(u usage) int64 { return int64(u.Modules) }, 1},
	}
}

// charge adds an instance to what its project uses, or refuses with 413 what would be too much.
func (cp *Plane) charge(s etcdschema.Snapshot, in etcdschema.Instance) ([]etcdschema.Op, error) {
	return cp.Account(s, in.Project, func(u etcdschema.Usage) etcdschema.Usage { return plan.AddUsage(u, in, 1) })
}

// roomFor refuses with 413 when a project may not have several such instances more, before the first is made.
func (cp *Plane) roomFor(ctx context.Context, in etcdschema.Instance, count int) error {
	refs := []etcdschema.Ref{etcdschema.UsageKey(in.Project), etcdschema.QuotaKey(in.Project)}
	_, err := cp.Store.Update(ctx, refs, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		_, err := cp.Account(s, in.Project, func(u etcdschema.Usage) etcdschema.Usage {
			for range count {
				u = plan.AddUsage(u, in, 1)
			}
			return u
		})
		return nil, err
	})
	return err
}

// Account changes what a project uses; what would be more of something than before, and too much, is refused with 413.
func (cp *Plane) Account(s etcdschema.Snapshot, project string, change func(etcdschema.Usage) etcdschema.Usage) ([]etcdschema.Op, error) {
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
	before := cp.resources(quota.Value, usage.Value)
	for i, res := range cp.resources(quota.Value, after) {
		if res.Limit >= 0 && res.InUse > res.Limit && res.exact > before[i].exact {
			return nil, limits.Over(res.Name, fault.OverLimit, "Quota exceeded for resources: %s (the project would use %d of %d). Delete what is not needed, or have an administrator raise the quota.", res.Name, res.InUse, res.Limit)
		}
	}
	return []etcdschema.Op{etcdschema.Put(usageKey, after)}, nil
}

// held is up to which number may be written by who asks for number n.
func held(n, step int64) int64 { return n + max(step, n/8) }

// Hold charges a project for blobs up to number n, each of size bytes, where it holds so many bytes so far: for some more than n if
// they are within the quota, else for n alone.
func (cp *Plane) Hold(s etcdschema.Snapshot, project string, has, n, step, size int64, of func(*etcdschema.Usage) *int64) (ops []etcdschema.Op, more int64, err error) {
	for _, to := range []int64{held(n, step), n} {
		more = max(has, to*size)
		ops, err = cp.Account(s, project, func(u etcdschema.Usage) etcdschema.Usage {
			*of(&u) += more - has
			return u
		})
		if err == nil {
			break
		}
	}
	return ops, more, err
}

// recharge changes what a project uses by an instance that becomes another size. It refuses as [Plane.Account] does.
func (cp *Plane) recharge(s etcdschema.Snapshot, from, to etcdschema.Instance) ([]etcdschema.Op, error) {
	return cp.Account(s, from.Project, func(u etcdschema.Usage) etcdschema.Usage { return plan.ExchangeUsage(u, from, to) })
}

// exchange accounts for an instance that becomes another size, see resized. It refuses with 413 what exceeds the project's
// quota, and with 422 what its host does not have.
func (cp *Plane) exchange(s etcdschema.Snapshot, from, to etcdschema.Instance) ([]etcdschema.Op, error) {
	if _, err := cp.recharge(s, from, to); err != nil {
		return nil, err
	}
	rec, err := plan.Allocator(s, from)
	if err != nil {
		return nil, err
	}
	if !rec.Found {
		return plan.Resized(s, from, to)
	}
	need, had, left := plan.NeedOf(to), rec.Value.Allocated[from.ID], Free(rec.Value)
	if need.MemoryMB-had.MemoryMB > max(0, left.MemoryMB) || need.VCPUs > max(had.VCPUs, left.VCPUs) || need.DiskGB-had.DiskGB > max(0, left.DiskGB) {
		return nil, &noRoom{fault.Errorf(fault.Unprocessable, "The host of instance %s has %d MB of memory, %d processors and %d GB of disk left, too little for it.", from.ID, left.MemoryMB, left.VCPUs, left.DiskGB)}
	}
	return plan.Resized(s, from, to)
}

// noRoom says that a host has no room for another size of an instance that it has.
type noRoom struct{ error }

func (e *noRoom) Unwrap() error { return e.error }

// Quota reads a project's limits and usage; one that was never set or counted is empty.
func (cp *Plane) Quota(ctx context.Context, project string) ([]Resource, error) {
	quota, err := etcdschema.Get(ctx, cp.Store, etcdschema.QuotaKey(project))
	if err != nil && !errors.Is(err, etcdschema.ErrNotFound) {
		return nil, err
	}
	usage, err := etcdschema.Get(ctx, cp.Store, etcdschema.UsageKey(project))
	if err != nil && !errors.Is(err, etcdschema.ErrNotFound) {
		return nil, err
	}
	return cp.resources(quota.Value, usage.Value), nil
}

// SetQuota sets a project's limits, by resource; -1 is none.
func (cp *Plane) SetQuota(ctx context.Context, project string, limits map[string]*int) error {
	for name, limit := range limits {
		if limit == nil || *limit < -1 {
			return fault.Errorf(fault.BadRequest, "The quota of %s must be a number: -1 (no limit) or more.", name)
		}
	}
	key := etcdschema.QuotaKey(project)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		q := rec.Value
		rows := quotaRows(&q)
		for name, limit := range limits {
			i := slices.IndexFunc(rows, func(row quotaRow) bool { return row.name == name })
			if i < 0 {
				return nil, fault.Errorf(fault.ItemNotFound, "Quota resource %s is unknown; there are %s.", name, names(rows))
			}
			*rows[i].own = limit
		}
		return []etcdschema.Op{etcdschema.Put(key, q)}, nil
	})
	return err
}

func names(rows []quotaRow) string {
	var all []string
	for _, row := range rows {
		all = append(all, row.name)
	}
	return strings.Join(all, ", ")
}
