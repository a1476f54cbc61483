package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// deleteBackup deletes a backup with all that build on it. Its segments are removed after the answer.
func (g *Gateway) deleteBackup(r *request) (reply, error) {
	b, err := g.findBackup(r, r.param("id"))
	if err != nil {
		return reply{}, err
	}
	all, err := g.backups(r, etcdschema.Backups(r.project))
	if err != nil {
		return reply{}, err
	}
	family := descendants(b, all)
	_, err = g.store.Update(r.ctx, nil, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) { return g.markDeleted(s, family) })
	if err != nil {
		return reply{}, err
	}
	for _, one := range family {
		g.removeLater(one.Project, one.BackupID)
	}
	return reply{status: http.StatusAccepted}, nil
}

// descendants are a backup and those that build on it.
func descendants(b etcdschema.Backup, all []etcdschema.Backup) []etcdschema.Backup {
	family := []etcdschema.Backup{b}
	for _, child := range all {
		if child.Parent == b.BackupID {
			family = append(family, descendants(child, all)...)
		}
	}
	return family
}

// markDeleted hides backups from everybody and gives their quota back. One that is being made must be cancelled first.
func (g *Gateway) markDeleted(s etcdschema.Snapshot, family []etcdschema.Backup) ([]etcdschema.Op, error) {
	var ops []etcdschema.Op
	counted := 0
	for _, one := range family {
		key := etcdschema.BackupKey(one.Project, one.BackupID)
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		b := rec.Value
		switch {
		case !rec.Found || !b.Deleting.IsZero():
			continue
		case b.Running():
			return nil, faultf(unprocessable, `Backup %s is being made; cancel it first: POST backups/%[1]s/action {"cancel": {}}.`, b.BackupID)
		case !b.Snapshot:
			counted++
		}
		b.Deleting = g.now().UTC()
		ops = append(ops, etcdschema.Put(key, b))
	}
	if counted == 0 {
		return ops, nil
	}
	usage, err := g.account(s, family[0].Project, func(u etcdschema.Usage) etcdschema.Usage { u.Backups = max(0, u.Backups-counted); return u })
	return append(ops, usage...), err
}

// removeLater removes a deleted backup's segments, then its record, beside everything else. A gateway that ends meanwhile
// leaves the record: whoever reads it later goes on.
func (g *Gateway) removeLater(project, id string) {
	g.work.Go(func() {
		ctx, cancel := context.WithTimeout(g.running, removalTimeout)
		defer cancel()
		if err := g.removeBackup(ctx, project, id); err != nil {
			g.log.Warn("a backup's segments could not be removed", "backup_id", id, "err", err)
		}
	})
}

func (g *Gateway) removeBackup(ctx context.Context, project, id string) error {
	key := etcdschema.BackupKey(project, id)
	rec, err := etcdschema.Get(ctx, g.store, key)
	if errors.Is(err, etcdschema.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if g.Blobs == nil {
		return errors.New("this gateway has no store for backups")
	}
	failed := g.Blobs.DeleteAll(ctx, backupPrefix(rec.Value))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	_, err = g.store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		now, err := etcdschema.Read(s, key)
		if err != nil || !now.Found {
			return nil, err
		}
		if failed == nil {
			return []etcdschema.Op{etcdschema.Delete(key)}, nil
		}
		b := now.Value
		b.Status, b.Deleting, b.Fault = etcdschema.BackupDeleteFailed, time.Time{}, fmt.Sprintf("its segments could not be removed: %v", failed)
		return []etcdschema.Op{etcdschema.Put(key, b)}, nil
	})
	if failed != nil || err != nil {
		return errors.Join(failed, err)
	}
	// A segment that was on its way has been stored meanwhile; later ones find no record.
	return g.Blobs.DeleteAll(ctx, backupPrefix(rec.Value))
}

// actOnBackup cancels a backup that is being made: it is FAILED at once, and its guest is told to stop.
func (g *Gateway) actOnBackup(r *request) (reply, error) {
	action, _, err := oneAction(r)
	if err != nil {
		return reply{}, err
	}
	if action != "cancel" {
		return reply{}, faultf(badRequest, "Action %q is unknown; allowed: cancel.", action)
	}
	b, err := g.findBackup(r, r.param("id"))
	if err != nil {
		return reply{}, err
	}
	if b.Snapshot || !b.Running() {
		return reply{}, faultf(unprocessable, "Backup %s is not being made (%s).", b.BackupID, b.Status)
	}
	event := lifecycle.Event{Type: lifecycle.ResetStatus, Request: r.id()}
	_, err = g.transitionWith(r.ctx, r.project, b.Instance, event, func(s etcdschema.Snapshot, in etcdschema.Instance, _ *lifecycle.Event) (etcdschema.Snapshot, []etcdschema.Op, error) {
		if in.Operation == nil || in.Operation.Backup != b.BackupID {
			return s, nil, faultf(unprocessable, "Backup %s is not being made any more.", b.BackupID)
		}
		return s, nil, nil
	})
	return reply{status: http.StatusAccepted}, instanceError(err, b.Instance)
}
