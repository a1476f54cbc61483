package plan

import (
	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/limits"
)

// What guests put into the store is charged to their project before it is put, in steps: an eighth of what is there, so that a large
// backup costs etcd little, and no less than this many blobs.
const (
	SegmentStep = 8
	ChunkStep   = 16
)

// lastAsked is the least number that a guest has asked for to be granted so many.
func lastAsked(grant, step int64) int64 { return max(1, min(grant-step, (grant*8+8)/9)) }

// IndexSize is how many bytes a backup's index may have: a line of less than 100 for each segment, and the first.
func IndexSize(b etcdschema.Backup) int64 {
	if b.Snapshot {
		return agentpoll.MaxSegment
	}
	return 4*limits.KiB + 128*b.Held/SegmentSize
}

// settle charges a project for what a backup that is complete has in the store, as its guest says: but no less than all segments but
// the last that it has asked for, since each of those is full.
func (p *Plan) settle(b *etcdschema.Backup) error {
	if b.Held == 0 {
		return nil // a snapshot, or one that an earlier version began
	}
	least := (lastAsked(b.Held/SegmentSize, SegmentStep) - 1) * SegmentSize
	stored := min(max(b.Stored, least), b.Held+IndexSize(*b))
	usage, err := etcdschema.Read(p.Snap, etcdschema.UsageKey(b.Project))
	usage.Value.BackupBytes = max(0, usage.Value.BackupBytes+stored-b.Held)
	b.Held = stored
	op := etcdschema.Put(etcdschema.UsageKey(b.Project), usage.Value)
	p.Snap = p.Snap.After(op)
	p.Put(op)
	return err
}

// RefundBackups takes backups of one project out of what it uses, each of them once.
func RefundBackups(s etcdschema.Snapshot, backups ...*etcdschema.Backup) ([]etcdschema.Op, error) {
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

// What agents cut backups and logs into, at most.
const (
	SegmentSize = 8 * limits.MiB
	MaxChunk    = 1 * limits.MiB
)
