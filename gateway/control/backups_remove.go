package control

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
	"github.com/cofferdb/coffer/gateway/segments"
)

// maxFamily is how many backups one transaction can delete.
const maxFamily = 100

// RemoveBackup deletes a backup with all that build on it. Its segments are removed afterwards.
func (cp *Plane) RemoveBackup(ctx context.Context, c Caller, id string) error {
	_, err := cp.Commit(ctx, nil, func(s etcdschema.Snapshot) (plan.Moves, error) {
		family, err := familyOf(s, c.Project, id)
		if err != nil {
			return plan.Moves{}, err
		}
		return cp.deletion(s, family)
	})
	return err
}

// familyOf reads a backup and those that build on it.
func familyOf(s etcdschema.Snapshot, project, id string) ([]*etcdschema.Backup, error) {
	var family []*etcdschema.Backup
	for ids := []string{id}; len(ids) > 0; ids = ids[1:] {
		rec, err := etcdschema.Read(s, etcdschema.BackupKey(project, ids[0]))
		if err == nil && rec.Value.Deleting {
			rec.Found = false
		}
		b, err := fault.Found(rec, err, "Backup", ids[0])
		if err != nil {
			return nil, err
		}
		ids = append(ids, b.Children...)
		if family = append(family, &b); len(family) > maxFamily {
			return nil, fault.Errorf(fault.Unprocessable, "More than %d backups build on backup %s; delete the newest of them first.", maxFamily, id)
		}
	}
	return family, nil
}

// deletion hides a family of backups from everybody and gives its quota back. A backup that is being made must be cancelled first,
// and one that is being restored waited for.
func (cp *Plane) deletion(s etcdschema.Snapshot, family []*etcdschema.Backup) (m plan.Moves, err error) {
	first := family[0]
	if first.Parent != "" {
		key := etcdschema.BackupKey(first.Project, first.Parent)
		parent, err := etcdschema.Read(s, key)
		if err != nil {
			return m, err
		}
		if parent.Found {
			parent.Value.Children = plan.WithMember(parent.Value.Children, first.BackupID, false)
			m.Ops = append(m.Ops, etcdschema.Put(key, parent.Value))
		}
	}
	usage, err := plan.RefundBackups(s, family...)
	if err != nil {
		return m, err
	}
	m.Ops = append(m.Ops, usage...)
	for _, b := range family {
		switch {
		case b.Running():
			return m, fault.Errorf(fault.Unprocessable, `Backup %s is being made; cancel it first: POST backups/%[1]s/action {"cancel": {}}.`, b.BackupID)
		case len(b.Readers) > 0:
			return m, fault.Errorf(fault.Conflict, "Backup %s is being restored by instance %s; delete it when that is done, or delete the instance first.", b.BackupID, b.Readers[0])
		}
		b.Deleting, b.Removing = true, cp.Now().UTC()
		m.Ops = append(m.Ops, etcdschema.Put(etcdschema.BackupKey(b.Project, b.BackupID), *b))
		m.Removed = append(m.Removed, *b)
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
func (cp *Plane) removeLater(b etcdschema.Backup) {
	cp.work.Go(func() {
		select {
		case cp.removing <- struct{}{}:
			defer func() { <-cp.removing }()
			cp.remove(b)
		case <-cp.running.Done():
		}
	})
}

// takeUp goes on with a removal that nobody seems to be at, unless this gateway has enough to remove.
func (cp *Plane) takeUp(b etcdschema.Backup) {
	if b.Removing.IsZero() || cp.Now().Sub(b.Removing) <= removalTimeout {
		return
	}
	select {
	case cp.removing <- struct{}{}:
	default:
		return // whoever reads it next may have the time
	}
	cp.work.Go(func() {
		defer func() { <-cp.removing }()
		if cp.claimRemoval(&b) {
			cp.remove(b)
		}
	})
}

// claimRemoval reports whether the removal is this gateway's to do now.
func (cp *Plane) claimRemoval(b *etcdschema.Backup) bool {
	seen, now := b.Removing, cp.Now().UTC()
	claimed := false
	err := cp.changeBackup(cp.running, *b, func(b *etcdschema.Backup) {
		if claimed = b.Removing.Equal(seen); claimed {
			b.Removing = now
		}
	})
	b.Removing = now
	return err == nil && claimed
}

// changeBackup changes the record of a backup, if it is there. change may be called several times.
func (cp *Plane) changeBackup(ctx context.Context, b etcdschema.Backup, change func(*etcdschema.Backup)) error {
	key := etcdschema.BackupKey(b.Project, b.BackupID)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil || !rec.Found {
			return nil, err
		}
		change(&rec.Value)
		return []etcdschema.Op{etcdschema.Put(key, rec.Value)}, nil
	})
	return err
}

func (cp *Plane) remove(b etcdschema.Backup) {
	ctx, cancel := context.WithTimeout(cp.running, removalTimeout)
	defer cancel()
	if err := cp.removeSegments(ctx, b); err != nil {
		cp.Log.Warn("a backup's segments could not be removed", "backup_id", b.BackupID, "err", err)
	}
}

func (cp *Plane) removeSegments(ctx context.Context, b etcdschema.Backup) error {
	if cp.Blobs == nil {
		return errors.New("this gateway has no store for backups")
	}
	failed := cp.Blobs.DeleteAll(ctx, segments.BackupPrefix(b.Container, b.Project, b.BackupID))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if failed != nil {
		err := cp.changeBackup(ctx, b, func(b *etcdschema.Backup) {
			if b.Deleting { // else it is taken up again, for nobody has asked for anything
				b.Status, b.Fault = etcdschema.BackupDeleteFailed, "The store of backups did not remove its segments; delete it again."
				b.Deleting, b.Removing = false, time.Time{}
			}
		})
		return errors.Join(failed, err)
	}
	if err := cp.segmentsRemoved(ctx, b); err != nil {
		return err
	}
	// A segment that was on its way has been stored meanwhile; later ones are refused.
	return cp.Blobs.DeleteAll(ctx, segments.BackupPrefix(b.Container, b.Project, b.BackupID))
}

// segmentsRemoved ends a removal: the record of a backup that was deleted goes.
func (cp *Plane) segmentsRemoved(ctx context.Context, b etcdschema.Backup) error {
	key := etcdschema.BackupKey(b.Project, b.BackupID)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
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

// CancelBackup ends a backup that is being made: it is FAILED at once, and its guest is told to stop.
func (cp *Plane) CancelBackup(ctx context.Context, c Caller, id string) error {
	b, err := cp.FindBackup(ctx, c, id)
	if err != nil {
		return err
	}
	if b.Snapshot || !b.Running() {
		return fault.Errorf(fault.Unprocessable, "Backup %s is not being made (%s).", b.BackupID, b.Status)
	}
	event := lifecycle.Event{Type: lifecycle.ResetStatus, Reason: "The backup was cancelled by " + cmp.Or(c.Who.UserName, "an unnamed user") + ".", Request: c.Request}
	_, err = cp.transition(ctx, c.Project, b.Instance, event, func(p *plan.Plan) error {
		if op := p.Before.Operation; op == nil || op.Backup != b.BackupID {
			return fault.Errorf(fault.Unprocessable, "Backup %s is not being made any more.", b.BackupID)
		}
		return nil
	})
	return instanceError(err, b.Instance)
}

// removeLogs removes what was published of a removed instance's logs, beside everything else.
func (cp *Plane) removeLogs(in etcdschema.Instance) {
	if cp.Blobs == nil {
		return
	}
	cp.work.Go(func() {
		ctx, cancel := context.WithTimeout(cp.running, removalTimeout)
		defer cancel()
		if err := cp.Blobs.DeleteAll(ctx, segments.LogsPrefix(in.Project, in.ID)); err != nil {
			cp.Log.Error("what was published of an instance's logs could not be removed", "instance_id", in.ID, "prefix", segments.LogsPrefix(in.Project, in.ID), "err", err)
		}
	})
}
