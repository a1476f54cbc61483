package gateway

import (
	"context"
	"errors"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/blobstore"
)

// mayWriteBackup tells where a guest's segments of a backup go: of one that it is making.
func (g *Gateway) mayWriteBackup(ctx context.Context, agentID, backupID string) (prefix string, err error) {
	b, _, err := g.backupFor(ctx, agentID, backupID)
	if err != nil {
		return "", err
	}
	if b.Instance != agentID || !b.Running() {
		return "", errNotNow
	}
	return backupPrefix(b), nil
}

// mayReadBackup tells where the segments of a backup are for a guest that restores it.
func (g *Gateway) mayReadBackup(ctx context.Context, agentID, backupID string) (prefix string, err error) {
	b, in, err := g.backupFor(ctx, agentID, backupID)
	if err != nil {
		return "", err
	}
	for _, id := range in.Restore {
		if id == backupID {
			return backupPrefix(b), nil
		}
	}
	return "", errNotNow
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
		err = errNoSegments
	}
	return b, instance.Value, err
}

// logOf tells where the published part of a guest's log goes.
func (g *Gateway) logOf(ctx context.Context, agentID, log string) (prefix string, err error) {
	agent, err := etcdschema.Get(ctx, g.store, etcdschema.AgentKey(agentID))
	if err != nil {
		return "", err
	}
	prefix = logPrefix(agent.Value.Project, agentID, log)
	if blobstore.CheckName(prefix) != nil {
		return "", errNoSegments
	}
	return prefix, nil
}
