package control

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/due"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
	"github.com/cofferdb/coffer/gateway/plan"
	"github.com/cofferdb/coffer/gateway/segments"
)

// maxFamily is how many backups one transaction can delete: two changes for each.
const maxFamily = 50

// RemoveBackup deletes a backup with all that build on it. Its segments are removed afterwards.
func (cp *Plane) RemoveBackup(ctx context.Context, c Caller, id string) error {
	_, err := cp.Commit(ctx, nil, func(s etcdschema.Snapshot) (plan.Moves, error) {
		family, err := familyOf(s, c.Project, id)
		if err == nil && family[0].PartOf != "" {
			err = fault.NotFound("Backup", id)
		}
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
		for _, part := range b.Parts {
			ids = append(ids, part.ID)
		}
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
	if first.Log != nil {
		woken, err := plan.WakeArchive(s, first.Project, first.Instance, cp.Now())
		if err != nil {
			return m, err
		}
		m.Ops = append(m.Ops, woken...)
	}
	for _, b := range family {
		switch {
		case b.Running():
			return m, fault.Errorf(fault.Unprocessable, `Backup %s is being made; cancel it first: POST backups/%[1]s/action {"cancel": {}}.`, b.BackupID)
		case len(b.Readers) > 0:
			return m, fault.Errorf(fault.Conflict, "Backup %s is being restored by instance %s; delete it when that is done, or delete the instance first.", b.BackupID, b.Readers[0])
		}
		b.Deleting = true
		m.Ops = append(m.Ops, plan.DueVerification(b, time.Time{}, cp.Now())...)
		m.Ops = append(m.Ops, plan.DueRemoval(b, cp.Now(), cp.Now())...)
		m.Ops = append(m.Ops, etcdschema.Put(etcdschema.BackupKey(b.Project, b.BackupID), *b))
	}
	return m, nil
}

// CancelBackup ends a backup that is being made: it is FAILED at once, and its guest is told to stop. So is a cluster's, once all who make
// its parts are told.
func (cp *Plane) CancelBackup(ctx context.Context, c Caller, id string) error {
	b, err := cp.FindBackup(ctx, c, id)
	if err != nil {
		return err
	}
	if b.Snapshot || !b.Running() {
		return fault.Errorf(fault.Unprocessable, "Backup %s is not being made (%s).", b.BackupID, b.Status)
	}
	if b.Import != nil {
		return cp.ChangeBackup(ctx, c.Project, id, func(s etcdschema.Snapshot, b *etcdschema.Backup) ([]etcdschema.Op, error) {
			if !b.Running() {
				return nil, fault.Errorf(fault.Unprocessable, "Backup %s is not brought in any more.", id)
			}
			return cp.failImport(s, b, "The import was "+cancelledBy(c), cp.Now())
		})
	}
	for _, part := range b.Parts {
		rec, err := etcdschema.Get(ctx, cp.Store, etcdschema.BackupKey(c.Project, part.ID))
		if err == nil && rec.Value.Running() {
			err = cp.cancelMaking(ctx, c, rec.Value)
		}
		if err != nil {
			return err
		}
	}
	if err := cp.cancelMaking(ctx, c, b); err != nil && len(b.Parts) == 0 { // whose own part may be made
		return err
	}
	return nil
}

func cancelledBy(c Caller) string {
	return "cancelled by " + cmp.Or(c.Who.UserName, "an unnamed user") + "."
}

// cancelMaking has an instance give up the backup that it makes.
func (cp *Plane) cancelMaking(ctx context.Context, c Caller, b etcdschema.Backup) error {
	event := lifecycle.Event{Type: lifecycle.ResetStatus, Reason: "The backup was " + cancelledBy(c), Request: c.Request, By: c.Who.UserName}
	_, err := cp.transition(ctx, c.Project, b.Instance, event, func(p *plan.Plan) error {
		if op := p.Before.Operation; op == nil || op.Backup != b.BackupID {
			return fault.Errorf(fault.Unprocessable, "Backup %s is not being made any more.", b.BackupID)
		}
		return nil
	})
	return instanceError(err, b.Instance)
}

// failImport has a backup that is brought in be FAILED. Its quota is given back, and what was stored of it removed at a time.
func (cp *Plane) failImport(s etcdschema.Snapshot, b *etcdschema.Backup, reason string, at time.Time) ([]etcdschema.Op, error) {
	b.Status, b.Fault, b.Updated = etcdschema.BackupFailed, reason, cp.Now().UTC()
	ops, err := plan.RefundBackups(s, b)
	return append(ops, plan.DueRemoval(b, at, cp.Now())...), err
}

// removals is how many backups, or instances' logs, a gateway removes at a time, and removalTimeout how long it has for one until any gateway
// takes it up.
const (
	removals       = 4
	removalTimeout = 5 * time.Minute
)

// backupDue removes a backup's segments, and the record of one that was deleted.
func (cp *Plane) backupDue(ctx context.Context, item due.Item) error {
	b, mine, err := cp.claimRemoval(ctx, item)
	if err == nil && mine {
		err = cp.removeSegments(ctx, b)
	}
	return err
}

// claimRemoval reports whether the removal is this gateway's to do now: it has put it off for all others.
func (cp *Plane) claimRemoval(ctx context.Context, item due.Item) (b etcdschema.Backup, mine bool, err error) {
	key := etcdschema.BackupKey(item.Project, item.ID)
	_, err = cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if err != nil {
			return nil, err
		}
		b = rec.Value
		if mine = rec.Found && b.Due.Equal(item.At); !mine {
			return item.Drop(s, plan.DueBackup)
		}
		later := cp.Now().Add(removalTimeout)
		ops := plan.DueRemoval(&b, later, cp.Now())
		if b.Import != nil && b.Running() && !b.Deleting { // for which there was a day
			if ops, err = cp.failImport(s, &b, "What it holds was not sent in time.", later); err != nil {
				return nil, err
			}
		}
		return append(ops, etcdschema.Put(key, b)), nil
	})
	return b, mine, err
}

func (cp *Plane) removeSegments(ctx context.Context, b etcdschema.Backup) error {
	prefix := segments.BackupPrefix(b.Container, b.Project, b.BackupID)
	failed := cp.Blobs.DeleteAll(ctx, prefix)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := cp.endRemoval(ctx, b, failed == nil); err != nil || failed != nil {
		return errors.Join(failed, err)
	}
	// A segment that was on its way has been stored meanwhile; later ones are refused.
	return cp.Blobs.DeleteAll(ctx, prefix)
}

// endRemoval ends a removal. The record of a backup that was deleted goes, or says that it failed. When nobody has asked for anything, a
// removal that has failed is tried again when it is due.
func (cp *Plane) endRemoval(ctx context.Context, b etcdschema.Backup, well bool) error {
	key := etcdschema.BackupKey(b.Project, b.BackupID)
	_, err := cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		b := rec.Value
		if err != nil || !rec.Found || !well && !b.Deleting {
			return nil, err
		}
		ops := plan.DueRemoval(&b, time.Time{}, cp.Now())
		if well && b.Deleting {
			return append(ops, etcdschema.Delete(key)), nil
		}
		if !well {
			b.Status, b.Fault, b.Deleting = etcdschema.BackupDeleteFailed, "The store of backups did not remove its segments; delete it again.", false
		}
		return append(ops, etcdschema.Put(key, b)), nil
	})
	return err
}

// logsDue removes what was published of a removed instance's logs.
func (cp *Plane) logsDue(ctx context.Context, item due.Item) error {
	later := due.Item{At: etcdschema.DueTime(cp.Now().Add(removalTimeout)), Project: item.Project, ID: item.ID}
	mine, err := cp.moveLogs(ctx, item, etcdschema.Put(later.Key(plan.DueLogs), etcdschema.Due{}))
	if err != nil || !mine {
		return err
	}
	if err := cp.Blobs.DeleteAll(ctx, segments.LogsPrefix(item.Project, item.ID)); err != nil {
		return err
	}
	_, err = cp.moveLogs(ctx, later)
	return err
}

// moveLogs takes the key of a removal away and puts others in its place. It reports whether the key was there.
func (cp *Plane) moveLogs(ctx context.Context, item due.Item, to ...etcdschema.Op) (was bool, err error) {
	key := item.Key(plan.DueLogs)
	_, err = cp.Store.Update(ctx, []etcdschema.Ref{key}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, key)
		if was = rec.Found; err != nil || !was {
			return nil, err
		}
		return append(to, etcdschema.Delete(key)), nil
	})
	return was, err
}
