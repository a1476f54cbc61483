package agents

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/plan"
	"github.com/cofferdb/coffer/gateway/segments"
)

// grantSegments charges a project for a backup that goes on to segment n: for as many more as there is room, n at least.
func (be *Backend) grantSegments(ctx context.Context, b etcdschema.Backup, n int64) (etcdschema.Backup, error) {
	key := etcdschema.BackupKey(b.Project, b.BackupID)
	refs := []etcdschema.Ref{key, etcdschema.UsageKey(b.Project), etcdschema.QuotaKey(b.Project)}
	_, err := be.control.Store.Update(ctx, refs, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		if b = rec.Value; !rec.Found || !b.Running() || b.Deleting {
			return nil, segments.ErrNotNow
		}
		ops, held, err := be.control.Hold(s, b.Project, b.Held, n, plan.SegmentStep, plan.SegmentSize, func(u *etcdschema.Usage) *int64 { return &u.BackupBytes })
		b.Held = held
		return append(ops, etcdschema.Put(key, b)), err
	})
	return b, be.refusal(err)
}

// grantLog charges a project for a log that goes on to chunk n, and has its instance remember the log.
func (be *Backend) grantLog(ctx context.Context, key etcdschema.Key[etcdschema.Instance], log string, n int64) error {
	_, err := be.control.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		in := rec.Value
		known := slices.Contains(in.Logs, log)
		switch {
		case err != nil:
			return nil, err
		case !rec.Found:
			return nil, segments.ErrNone
		case known && n*plan.MaxChunk <= in.LogBytes[log]:
			return nil, nil
		case !known && !be.control.Limits.Within("logs", int64(len(in.Logs)+1)):
			be.control.Limits.Refused("logs")
			return nil, errTooManyLogs
		case !known:
			in.Logs = append(in.Logs, log)
		}
		ops, held, err := be.control.Hold(s, in.Project, in.LogBytes[log], n, plan.ChunkStep, plan.MaxChunk, func(u *etcdschema.Usage) *int64 { return &u.LogBytes })
		if in.LogBytes = maps.Clone(in.LogBytes); in.LogBytes == nil {
			in.LogBytes = map[string]int64{}
		}
		in.LogBytes[log] = held
		return append(ops, etcdschema.Put(key, in)), err
	})
	return be.refusal(err)
}

// refusal is how a guest is told that its project's quota is used up.
func (be *Backend) refusal(err error) error {
	if f, is := errors.AsType[*fault.Error](err); is {
		be.control.Limits.Refused(f.Limit)
		return &segments.Refusal{Status: http.StatusRequestEntityTooLarge, Kind: agentpoll.Full, Message: f.Message}
	}
	return err
}

// refundLog gives back what a project is charged for a log.
func (be *Backend) refundLog(ctx context.Context, key etcdschema.Key[etcdschema.Instance], log string) error {
	_, err := be.control.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		in := rec.Value
		bytes := in.LogBytes[log]
		if bytes == 0 {
			return nil, nil
		}
		ops, err := be.control.Account(s, in.Project, func(u etcdschema.Usage) etcdschema.Usage {
			u.LogBytes = max(0, u.LogBytes-bytes)
			return u
		})
		in.LogBytes = maps.Clone(in.LogBytes)
		delete(in.LogBytes, log)
		return append(ops, etcdschema.Put(key, in)), err
	})
	return err
}
