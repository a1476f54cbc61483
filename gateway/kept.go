package gateway

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/segments"
)

// What guests put into the store is charged to their project before it is put, in steps: an eighth of what is there, so that a large
// backup costs etcd little, and no less than this many blobs.
const (
	segmentStep = 8
	chunkStep   = 16
)

// granted is up to which number a guest may write that asks for number n.
func granted(n, step int64) int64 { return n + max(step, n/8) }

// lastAsked is the least number that a guest has asked for to be granted so many.
func lastAsked(grant, step int64) int64 { return max(1, min(grant-step, (grant*8+8)/9)) }

// indexSize is how many bytes a backup's index may have: a line of less than 100 for each segment, and the first.
func indexSize(b etcdschema.Backup) int64 {
	if b.Snapshot {
		return agentpoll.MaxSegment
	}
	return 4*kib + 128*b.Held/segmentSize
}

// grantSegments charges a project for a backup that goes on to segment n: for as many more as there is room, n at least.
func (g *Gateway) grantSegments(ctx context.Context, b etcdschema.Backup, n int64) (etcdschema.Backup, error) {
	key := etcdschema.BackupKey(b.Project, b.BackupID)
	refs := []etcdschema.Ref{key, etcdschema.UsageKey(b.Project), etcdschema.QuotaKey(b.Project)}
	_, err := g.store.Update(ctx, refs, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		if b = rec.Value; !rec.Found || !b.Running() || b.Deleting {
			return nil, segments.ErrNotNow
		}
		ops, held, err := g.grant(s, b.Project, b.Held, n, segmentStep, segmentSize, func(u *etcdschema.Usage) *int64 { return &u.BackupBytes })
		b.Held = held
		return append(ops, etcdschema.Put(key, b)), err
	})
	return b, g.refusal(err)
}

// grantLog charges a project for a log that goes on to chunk n, and has its instance remember the log.
func (g *Gateway) grantLog(ctx context.Context, key etcdschema.Key[etcdschema.Instance], log string, n int64) error {
	_, err := g.store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		in := rec.Value
		known := slices.Contains(in.Logs, log)
		switch {
		case err != nil:
			return nil, err
		case !rec.Found:
			return nil, segments.ErrNone
		case known && n*maxChunk <= in.LogBytes[log]:
			return nil, nil
		case !known && !g.Limits.within("logs", int64(len(in.Logs)+1)):
			g.Limits.Refused("logs")
			return nil, errTooManyLogs
		case !known:
			in.Logs = append(in.Logs, log)
		}
		ops, held, err := g.grant(s, in.Project, in.LogBytes[log], n, chunkStep, maxChunk, func(u *etcdschema.Usage) *int64 { return &u.LogBytes })
		if in.LogBytes = maps.Clone(in.LogBytes); in.LogBytes == nil {
			in.LogBytes = map[string]int64{}
		}
		in.LogBytes[log] = held
		return append(ops, etcdschema.Put(key, in)), err
	})
	return g.refusal(err)
}

// grant charges a project for blobs up to number n, each of size bytes, where it holds so many bytes so far: for some more than n if
// they are within the quota, else for n alone.
func (g *Gateway) grant(s etcdschema.Snapshot, project string, held, n, step, size int64, of func(*etcdschema.Usage) *int64) (ops []etcdschema.Op, more int64, err error) {
	for _, to := range []int64{granted(n, step), n} {
		more = max(held, to*size)
		ops, err = g.account(s, project, func(u etcdschema.Usage) etcdschema.Usage {
			*of(&u) += more - held
			return u
		})
		if err == nil {
			break
		}
	}
	return ops, more, err
}

// refusal is how a guest is told that its project's quota is used up.
func (g *Gateway) refusal(err error) error {
	if f, is := errors.AsType[*fault](err); is {
		g.Limits.Refused(f.limit)
		return &segments.Refusal{Status: http.StatusRequestEntityTooLarge, Kind: agentpoll.Full, Message: f.message}
	}
	return err
}

// refundLog gives back what a project is charged for a log.
func (g *Gateway) refundLog(ctx context.Context, key etcdschema.Key[etcdschema.Instance], log string) error {
	_, err := g.store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		in := rec.Value
		bytes := in.LogBytes[log]
		if bytes == 0 {
			return nil, nil
		}
		ops, err := g.account(s, in.Project, func(u etcdschema.Usage) etcdschema.Usage {
			u.LogBytes = max(0, u.LogBytes-bytes)
			return u
		})
		in.LogBytes = maps.Clone(in.LogBytes)
		delete(in.LogBytes, log)
		return append(ops, etcdschema.Put(key, in)), err
	})
	return err
}

// settle charges a project for what a backup that is complete has in the store, as its guest says: but no less than all segments but
// the last that it has asked for, since each of those is full.
func (p *plan) settle(b *etcdschema.Backup) error {
	if b.Held == 0 {
		return nil // a snapshot, or one that an earlier version began
	}
	least := (lastAsked(b.Held/segmentSize, segmentStep) - 1) * segmentSize
	stored := min(max(b.Stored, least), b.Held+indexSize(*b))
	usage, err := etcdschema.Read(p.s, etcdschema.UsageKey(b.Project))
	usage.Value.BackupBytes = max(0, usage.Value.BackupBytes+stored-b.Held)
	b.Held = stored
	op := etcdschema.Put(etcdschema.UsageKey(b.Project), usage.Value)
	p.s = p.s.After(op)
	p.put(op)
	return err
}

// refundBackups takes backups of one project out of what it uses, each of them once.
func refundBackups(s etcdschema.Snapshot, backups ...*etcdschema.Backup) ([]etcdschema.Op, error) {
	count, bytes := 0, int64(0)
	for _, b := range backups {
		if !b.Snapshot && !b.Refunded {
			b.Refunded = true
			count++
			bytes += b.Held
			b.Held = 0
		}
	}
	if count == 0 {
		return nil, nil
	}
	key := etcdschema.UsageKey(backups[0].Project)
	usage, err := etcdschema.Read(s, key)
	usage.Value.Backups = max(0, usage.Value.Backups-count)
	usage.Value.BackupBytes = max(0, usage.Value.BackupBytes-bytes)
	return []etcdschema.Op{etcdschema.Put(key, usage.Value)}, err
}
