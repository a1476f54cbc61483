package gateway

import (
	"slices"

	"github.com/cofferdb/coffer/etcdschema"
)

// restoring is what a new instance begins with; the zero value is nothing.
type restoring struct {
	backup etcdschema.Backup
	chain  []string // ids, the full backup first
}

// restorePoint finds the backup that a create begins with. Its datastore version is the default of the request's.
func (g *Gateway) restorePoint(r *request, req *createRequest) (restoring, error) {
	var point restoring
	if req.RestorePoint == nil {
		return point, nil
	}
	id := lastPart(req.RestorePoint.BackupRef)
	if id == "" {
		return point, faultf(badRequest, "Validation error: restorePoint['backupRef'] must be the id of a backup.")
	}
	var err error
	if point.backup, err = g.findBackup(r, id); err != nil {
		return point, err
	}
	if point.chain, err = g.chainOf(r, point.backup); err != nil {
		return point, err
	}
	if req.Datastore.Type == "" && req.Datastore.Version == "" {
		req.Datastore.Type, req.Datastore.Version = point.backup.Datastore, point.backup.Version
	}
	return point, nil
}

// chainOf finds the backups that it takes to restore one, the full one first.
func (g *Gateway) chainOf(r *request, b etcdschema.Backup) (ids []string, err error) {
	for {
		if b.Status != etcdschema.BackupCompleted {
			return nil, faultf(conflict, "Backup %s is not complete (%s).", b.BackupID, b.Status)
		}
		ids = append(ids, b.BackupID)
		if b.Parent == "" {
			slices.Reverse(ids)
			return ids, nil
		}
		if b, err = g.findBackup(r, b.Parent); err != nil {
			return nil, err
		}
	}
}

// fits refuses another datastore version than the backup's, and a volume that is too small for it.
func (p restoring) fits(version etcdschema.Version, volumeGB int) error {
	b := p.backup
	switch {
	case len(p.chain) == 0:
		return nil
	case b.Datastore != version.Datastore || b.Version != version.Name:
		return faultf(badRequest, "Backup %s is of %s %s and cannot be restored as %s %s.", b.BackupID, b.Datastore, b.Version, version.Datastore, version.Name)
	case volumeGB > 0 && b.Used > int64(volumeGB)<<30:
		return faultf(forbidden, "Backup %s needs %.1f GB, more than a volume of %d GB.", b.BackupID, float64(b.Used)/(1<<30), volumeGB)
	}
	return nil
}
