package agents

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/blobstore"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/plan"
	"github.com/cofferdb/coffer/gateway/segments"
)

// MayWriteBackup tells where a guest's segments of a backup go that it is making, or of the log that it ships.
func (be *Backend) MayWriteBackup(ctx context.Context, agentID, backupID string, n int64) (where segments.Place, err error) {
	b, in, err := be.backupFor(ctx, agentID, backupID)
	if err == segments.ErrNone {
		return be.mayShip(ctx, agentID, backupID, n)
	}
	if err != nil {
		return where, err
	}
	if b.Instance != agentID || !b.Running() {
		return where, segments.ErrNotNow
	}
	where = segments.Place{Prefix: segments.BackupPrefix(b.Container, b.Project, b.BackupID), Limit: "backup_factor", Most: be.mostSegments(in), Size: plan.SegmentSize}
	if !b.Snapshot && n*plan.SegmentSize > b.Held && (where.Most < 0 || n <= where.Most) {
		if b, err = be.grantSegments(ctx, b, n); err != nil {
			return where, err
		}
	}
	where.Index = plan.IndexSize(b)
	return where, nil
}

// MayReadBackup tells where the segments of a backup, or of a log, are for a guest that restores it.
func (be *Backend) MayReadBackup(ctx context.Context, agentID, backupID string) (segments.Place, error) {
	b, in, err := be.backupFor(ctx, agentID, backupID)
	if err == segments.ErrNone {
		b, err = be.grantedTo(ctx, in, backupID)
	}
	if log := in.Replay; err == segments.ErrNone && log != nil && log.Window == backupID && len(in.Restore) > 0 {
		return segments.Place{Prefix: segments.ArchivePrefix(in.Project, log.Instance, log.Window), Most: -1}, nil
	}
	if err != nil {
		return segments.Place{}, err
	}
	if b.Project == in.Project && !slices.Contains(in.Restore, backupID) {
		return segments.Place{}, segments.ErrNotNow
	}
	return segments.Place{Prefix: segments.BackupPrefix(b.Container, b.Project, b.BackupID), Most: -1}, nil
}

// grantedTo reads a backup of another project that an instance begins with, as long as it may.
func (be *Backend) grantedTo(ctx context.Context, in etcdschema.Instance, backupID string) (b etcdschema.Backup, err error) {
	for i, name := range in.Restore {
		key, foreign := in.RestoreKey(name)
		if !foreign || !strings.HasSuffix(name, "/"+backupID) {
			continue
		}
		rec, err := etcdschema.Get(ctx, be.control.Store, key)
		top := rec
		if i < len(in.Restore)-1 && err == nil { // the grant is of what all of the chain is for
			last, _ := in.RestoreKey(in.Restore[len(in.Restore)-1])
			top, err = etcdschema.Get(ctx, be.control.Store, last)
		}
		if fault.IsNotFound(err) || err == nil && (rec.Value.Deleting || top.Value.Deleting || !top.Value.GrantedTo(in.Project)) {
			break
		}
		return rec.Value, err
	}
	return b, segments.ErrNone
}

// mostSegments is how many segments a backup of an instance may have; -1: any number.
func (be *Backend) mostSegments(in etcdschema.Instance) int64 {
	factor := be.control.Limits.Value("backup_factor")
	if factor < 0 {
		return -1
	}
	data := int64(in.VolumeGB) << 30
	if data == 0 {
		data = int64(in.Flavor.RAM) << 20
	}
	return (factor*data + 1<<30) / plan.SegmentSize
}

// backupFor reads a backup of the project that a guest is of, and its instance.
func (be *Backend) backupFor(ctx context.Context, agentID, backupID string) (b etcdschema.Backup, in etcdschema.Instance, err error) {
	agent, err := etcdschema.Get(ctx, be.control.Store, etcdschema.AgentKey(agentID))
	if err != nil {
		return b, in, err
	}
	instance, err := etcdschema.Get(ctx, be.control.Store, etcdschema.InstanceKey(agent.Value.Project, agentID))
	if err == nil {
		var rec etcdschema.Record[etcdschema.Backup]
		rec, err = etcdschema.Get(ctx, be.control.Store, etcdschema.BackupKey(agent.Value.Project, backupID))
		b = rec.Value
	}
	if err == nil && b.Deleting || errors.Is(err, etcdschema.ErrNotFound) || fault.IsNotFound(err) {
		err = segments.ErrNone
	}
	return b, instance.Value, err
}

// errTooManyLogs is told to a guest that publishes logs of too many names.
var errTooManyLogs = &segments.Refusal{Status: http.StatusRequestEntityTooLarge, Kind: agentpoll.Full, Message: "too many logs of this instance were published: limit logs"}

// MayWriteLog tells where a chunk of the published part of a guest's log goes, while the guest is asked to publish or to discard it.
// The log is remembered by its instance, with which it will go.
func (be *Backend) MayWriteLog(ctx context.Context, agentID, log string, n int64) (segments.Place, error) {
	where, key, err := be.ofLog(ctx, agentID, log)
	if err != nil || where.Most >= 0 && n > where.Most {
		return where, err
	}
	return where, be.grantLog(ctx, key, log, n)
}

// MayDiscardLog tells where the published part of a log is that its guest is asked to discard, and gives back what its project is
// charged for it.
func (be *Backend) MayDiscardLog(ctx context.Context, agentID, log string) (segments.Place, error) {
	where, key, err := be.ofLog(ctx, agentID, log)
	if err != nil {
		return where, err
	}
	return where, be.refundLog(ctx, key, log)
}

// ofLog tells where a guest's log goes that it is asked about, and of which instance it is.
func (be *Backend) ofLog(ctx context.Context, agentID, log string) (where segments.Place, key etcdschema.Key[etcdschema.Instance], err error) {
	agent, err := etcdschema.Get(ctx, be.control.Store, etcdschema.AgentKey(agentID))
	if err != nil {
		return where, key, err
	}
	where = segments.Place{Prefix: segments.LogPrefix(agent.Value.Project, agentID, log), Limit: "log_chunks", Most: be.control.Limits.Value("log_chunks"), Size: plan.MaxChunk}
	if blobstore.CheckName(where.Prefix) != nil {
		return where, key, segments.ErrNone
	}
	commands, err := etcdschema.List(ctx, be.control.Store, etcdschema.Commands(agentID), etcdschema.Page{})
	if err != nil {
		return where, key, err
	}
	if !slices.ContainsFunc(commands.Records, func(c etcdschema.Record[etcdschema.Command]) bool { return asksFor(c.Value, log) }) {
		return where, key, segments.ErrNotNow
	}
	return where, etcdschema.InstanceKey(agent.Value.Project, agentID), nil
}

// asksFor reports whether a command asks its guest to publish or discard a log.
func asksFor(cmd etcdschema.Command, log string) bool {
	var args datastores.LogArgs
	return cmd.Method == datastores.MethodLogAction && json.Unmarshal(cmd.Args, &args) == nil && args.Name == log && (args.Publish || args.Discard)
}
