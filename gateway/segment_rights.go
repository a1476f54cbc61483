package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/blobstore"
	"github.com/cofferdb/coffer/gateway/segments"
)

// mayWriteBackup tells where a guest's segments of a backup go: of one that it is making.
func (g *Gateway) mayWriteBackup(ctx context.Context, agentID, backupID string) (where segments.Place, err error) {
	b, in, err := g.backupFor(ctx, agentID, backupID)
	if err != nil {
		return where, err
	}
	if b.Instance != agentID || !b.Running() {
		return where, segments.ErrNotNow
	}
	return segments.Place{Prefix: backupPrefix(b), Limit: "backup_factor", Most: g.mostSegments(in), Size: segmentSize}, nil
}

// mayReadBackup tells where the segments of a backup are for a guest that restores it.
func (g *Gateway) mayReadBackup(ctx context.Context, agentID, backupID string) (segments.Place, error) {
	b, in, err := g.backupFor(ctx, agentID, backupID)
	if err != nil {
		return segments.Place{}, err
	}
	if !slices.Contains(in.Restore, backupID) {
		return segments.Place{}, segments.ErrNotNow
	}
	return segments.Place{Prefix: backupPrefix(b), Most: -1}, nil
}

// What agents cut backups and logs into, at most.
const (
	segmentSize = 8 * mib
	maxChunk    = 1 * mib
)

// mostSegments is how many segments a backup of an instance may have; -1: any number.
func (g *Gateway) mostSegments(in etcdschema.Instance) int64 {
	factor := g.Limits.value("backup_factor")
	if factor < 0 {
		return -1
	}
	data := int64(in.VolumeGB) << 30
	if data == 0 {
		data = int64(in.Flavor.RAM) << 20
	}
	return (factor*data + 1<<30) / segmentSize
}

// backupFor reads a backup of the project that a guest is of, and its instance.
func (g *Gateway) backupFor(ctx context.Context, agentID, backupID string) (b etcdschema.Backup, in etcdschema.Instance, err error) {
	agent, err := etcdschema.Get(ctx, g.store, etcdschema.AgentKey(agentID))
	if err != nil {
		return b, in, err
	}
	instance, err := etcdschema.Get(ctx, g.store, etcdschema.InstanceKey(agent.Value.Project, agentID))
	if err == nil {
		var rec etcdschema.Record[etcdschema.Backup]
		rec, err = etcdschema.Get(ctx, g.store, etcdschema.BackupKey(agent.Value.Project, backupID))
		b = rec.Value
	}
	if err == nil && b.Deleting || errors.Is(err, etcdschema.ErrNotFound) || isNotFound(err) {
		err = segments.ErrNone
	}
	return b, instance.Value, err
}

// errTooManyLogs is told to a guest that publishes logs of too many names.
var errTooManyLogs = &segments.Refusal{Status: http.StatusRequestEntityTooLarge, Kind: agentpoll.Full, Message: "too many logs of this instance were published: limit logs"}

// mayWriteLog tells where the published part of a guest's log goes, while the guest is asked to publish or to discard it. The log
// is remembered by its instance, with which it will go.
func (g *Gateway) mayWriteLog(ctx context.Context, agentID, log string) (where segments.Place, err error) {
	agent, err := etcdschema.Get(ctx, g.store, etcdschema.AgentKey(agentID))
	if err != nil {
		return where, err
	}
	where = segments.Place{Prefix: logPrefix(agent.Value.Project, agentID, log), Limit: "log_chunks", Most: g.Limits.value("log_chunks"), Size: maxChunk}
	if blobstore.CheckName(where.Prefix) != nil {
		return where, segments.ErrNone
	}
	commands, err := etcdschema.List(ctx, g.store, etcdschema.Commands(agentID), etcdschema.Page{})
	if err != nil {
		return where, err
	}
	if !slices.ContainsFunc(commands.Records, func(c etcdschema.Record[etcdschema.Command]) bool { return asksFor(c.Value, log) }) {
		return where, segments.ErrNotNow
	}
	key := etcdschema.InstanceKey(agent.Value.Project, agentID)
	_, err = g.store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		switch in := rec.Value; {
		case err != nil:
			return nil, err
		case !rec.Found:
			return nil, segments.ErrNone
		case slices.Contains(in.Logs, log):
			return nil, nil
		case !g.Limits.within("logs", int64(len(in.Logs)+1)):
			g.Limits.Refused("logs")
			return nil, errTooManyLogs
		default:
			in.Logs = append(in.Logs, log)
			return []etcdschema.Op{etcdschema.Put(key, in)}, nil
		}
	})
	return where, err
}

// asksFor reports whether a command asks its guest to publish or discard a log.
func asksFor(cmd etcdschema.Command, log string) bool {
	var args datastores.LogArgs
	return cmd.Method == datastores.MethodLogAction && json.Unmarshal(cmd.Args, &args) == nil && args.Name == log && (args.Publish || args.Discard)
}

// removeLogs removes what was published of a removed instance's logs, beside everything else.
func (g *Gateway) removeLogs(in etcdschema.Instance) {
	if g.Blobs == nil {
		return
	}
	g.work.Go(func() {
		ctx, cancel := context.WithTimeout(g.running, removalTimeout)
		defer cancel()
		if err := g.Blobs.DeleteAll(ctx, logContainer+"/"+in.Project+"/"+in.ID); err != nil {
			g.log.Error("what was published of an instance's logs could not be removed", "instance_id", in.ID, "prefix", logContainer+"/"+in.Project+"/"+in.ID, "err", err)
		}
	})
}
