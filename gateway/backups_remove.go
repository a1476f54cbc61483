package gateway

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// maxFamily is how many backups one transaction can delete.
const maxFamily = 100

// deleteBackup deletes a backup with all that build on it. Its segments are removed after the answer.
func (g *Gateway) deleteBackup(r *request) (reply, error) {
	_, err := g.commit(r.ctx, nil, func(s etcdschema.Snapshot) (moves, error) {
		family, err := familyOf(s, r.project, r.param("id"))
		if err != nil {
			return moves{}, err
		}
		return g.deletion(s, family)
	})
	return reply{status: http.StatusAccepted}, err
}

// familyOf reads a backup and those that build on it.
func familyOf(s etcdschema.Snapshot, project, id string) ([]*etcdschema.Backup, error) {
	var family []*etcdschema.Backup
	for ids := []string{id}; len(ids) > 0; ids = ids[1:] {
		rec, err := etcdschema.Read(s, etcdschema.BackupKey(project, ids[0]))
		if err == nil && rec.Value.Deleting {
			rec.Found = false
		}
		b, err := mustFind(rec, err, "Backup", ids[0])
		if err != nil {
			return nil, err
		}
		ids = append(ids, b.Children...)
		if family = append(family, &b); len(family) > maxFamily {
			return nil, faultf(unprocessable, "More than %d backups build on backup %s; delete the newest of them first.", maxFamily, id)
		}
	}
	return family, nil
}

// deletion hides a family of backups from everybody and gives its quota back. A backup that is being made must be cancelled first,
// and one that is being restored waited for.
func (g *Gateway) deletion(s etcdschema.Snapshot, family []*etcdschema.Backup) (m moves, err error) {
	first := family[0]
	if first.Parent != "" {
		key := etcdschema.BackupKey(first.Project, first.Parent)
		parent, err := etcdschema.Read(s, key)
		if err != nil {
			return m, err
		}
		if parent.Found {
			parent.Value.Children = withMember(parent.Value.Children, first.BackupID, false)
			m.ops = append(m.ops, etcdschema.Put(key, parent.Value))
		}
	}
	usage, err := refundBackups(s, family...)
	if err != nil {
		return m, err
	}
	m.ops = append(m.ops, usage...)
	for _, b := range family {
		switch {
		case b.Running():
			return m, faultf(unprocessable, `Backup %s is being made; cancel it first: POST backups/%[1]s/action {"cancel": {}}.`, b.BackupID)
		case len(b.Readers) > 0:
			return m, faultf(conflict, "Backup %s is being restored by instance %s; delete it when that is done, or delete the instance first.", b.BackupID, b.Readers[0])
		}
		b.Deleting, b.Removing = true, g.now().UTC()
		m.ops = append(m.ops, etcdschema.Put(etcdschema.BackupKey(b.Project, b.BackupID), *b))
		m.removed = append(m.removed, *b)
	}
	return m, nil
}

// removals is how many backups a gateway removes at a time, and removalTimeout how long it has for one until another gateway
// takes it up.
const (
	removals       = 4
	removalTimeout = 5 * time.Minute
)

// removeLater removes a backup's segments, and the record of one that was deleted, beside everything else. A gateway that ends
// meanwhile leaves the record, for takeUp.
func (g *Gateway) removeLater(b etcdschema.Backup) {
	g.work.Go(func() {
		select {
		case g.removing <- struct{}{}:
			defer func() { <-g.removing }()
			g.remove(b)
		case <-g.running.Done():
		}
	})
}

// takeUp goes on with a removal that nobody seems to be at, unless this gateway has enough to remove.
func (g *Gateway) takeUp(b etcdschema.Backup) {
	if b.Removing.IsZero() || g.now().Sub(b.Removing) <= removalTimeout {
		return
	}
	select {
	case g.removing <- struct{}{}:
	default:
		return // whoever reads it next may have the time
	}
	g.work.Go(func() {
		defer func() { <-g.removing }()
		if g.claimRemoval(&b) {
			g.remove(b)
		}
	})
}

// claimRemoval reports whether the removal is this gateway's to do now.
func (g *Gateway) claimRemoval(b *etcdschema.Backup) bool {
	seen, now := b.Removing, g.now().UTC()
	claimed := false
	err := g.changeBackup(g.running, *b, func(b *etcdschema.Backup) {
		if claimed = b.Removing.Equal(seen); claimed {
			b.Removing = now
		}
	})
	b.Removing = now
	return err == nil && claimed
}

// changeBackup changes the record of a backup, if it is there. change may be called several times.
func (g *Gateway) changeBackup(ctx context.Context, b etcdschema.Backup, change func(*etcdschema.Backup)) error {
	key := etcdschema.BackupKey(b.Project, b.BackupID)
	_, err := g.store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil || !rec.Found {
			return nil, err
		}
		change(&rec.Value)
		return []etcdschema.Op{etcdschema.Put(key, rec.Value)}, nil
	})
	return err
}

func (g *Gateway) remove(b etcdschema.Backup) {
	ctx, cancel := context.WithTimeout(g.running, removalTimeout)
	defer cancel()
	if err := g.removeSegments(ctx, b); err != nil {
		g.log.Warn("a backup's segments could not be removed", "backup_id", b.BackupID, "err", err)
	}
}

func (g *Gateway) removeSegments(ctx context.Context, b etcdschema.Backup) error {
	if g.Blobs == nil {
		return errors.New("this gateway has no store for backups")
	}
	failed := g.Blobs.DeleteAll(ctx, backupPrefix(b))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if failed != nil {
		err := g.changeBackup(ctx, b, func(b *etcdschema.Backup) {
			if b.Deleting { // else it is taken up again, for nobody has asked for anything
				b.Status, b.Fault = etcdschema.BackupDeleteFailed, "The store of backups did not remove its segments; delete it again."
				b.Deleting, b.Removing = false, time.Time{}
			}
		})
		return errors.Join(failed, err)
	}
	if err := g.segmentsRemoved(ctx, b); err != nil {
		return err
	}
	// A segment that was on its way has been stored meanwhile; later ones are refused.
	return g.Blobs.DeleteAll(ctx, backupPrefix(b))
}

// segmentsRemoved ends a removal: the record of a backup that was deleted goes.
func (g *Gateway) segmentsRemoved(ctx context.Context, b etcdschema.Backup) error {
	key := etcdschema.BackupKey(b.Project, b.BackupID)
	_, err := g.store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil || !rec.Found {
			return nil, err
		}
		if rec.Value.Deleting {
			return []etcdschema.Op{etcdschema.Delete(key)}, nil
		}
		rec.Value.Removing = time.Time{}
		return []etcdschema.Op{etcdschema.Put(key, rec.Value)}, nil
	})
	return err
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
	event := lifecycle.Event{Type: lifecycle.ResetStatus, Reason: "The backup was cancelled by " + cmp.Or(r.who.UserName, "an unnamed user") + ".", Request: r.id()}
	_, err = g.transition(r.ctx, r.project, b.Instance, event, func(p *plan) error {
		if op := p.before.Operation; op == nil || op.Backup != b.BackupID {
			return faultf(unprocessable, "Backup %s is not being made any more.", b.BackupID)
		}
		return nil
	})
	return reply{status: http.StatusAccepted}, instanceError(err, b.Instance)
}
