package plan

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
)

// DefaultContainer is Trove's backup_swift_container.
const DefaultContainer = "database_backups"

// backupArgs ask a guest for the backup of that id, whose record is there.
func (p *Plan) backupArgs(id string) (datastores.BackupArgs, error) {
	rec, err := etcdschema.Read(p.Snap, etcdschema.BackupKey(p.project(), id))
	b, err := fault.Found(rec, err, "Backup", id)
	if err != nil {
		return datastores.BackupArgs{}, err
	}
	args := datastores.BackupArgs{BackupID: id, Strategy: b.Strategy.Name}
	if b.Parent != "" {
		parent, err := etcdschema.Read(p.Snap, etcdschema.BackupKey(p.project(), b.Parent))
		if err != nil {
			return args, err
		}
		args.Parent = &parent.Value.BackupRef
	}
	args.Key, err = p.streamKey()
	return args, err
}

// restoreArgs name the backups of a chain, the full one first.
func (p *Plan) restoreArgs(chain []string) (*datastores.RestoreArgs, error) {
	args := &datastores.RestoreArgs{}
	for _, id := range chain {
		rec, err := etcdschema.Read(p.Snap, etcdschema.BackupKey(p.project(), id))
		b, err := fault.Found(rec, err, "Backup", id)
		if err != nil {
			return nil, err
		}
		args.Chain = append(args.Chain, b.BackupRef)
	}
	var err error
	args.Key, err = p.streamKey()
	return args, err
}

// streamKey is the key of the project's backups. It is made with the first one.
func (p *Plan) streamKey() (datastores.Secret, error) {
	key := etcdschema.StreamKeyKey(p.project())
	rec, err := etcdschema.Read(p.Snap, key)
	if err != nil {
		return datastores.Secret{}, err
	}
	var raw []byte
	if rec.Found {
		if raw, err = p.keys.Open(key.String(), rec.Value.Sealed); err != nil {
			return datastores.Secret{}, fmt.Errorf("the key of the project's backups: %w", err)
		}
	} else {
		raw = make([]byte, 32)
		_, _ = rand.Read(raw)
		p.Put(etcdschema.Put(key, etcdschema.StreamKey{Sealed: p.keys.Seal(key.String(), raw)}))
	}
	return datastores.NewSecret(base64.StdEncoding.EncodeToString(raw)).ForSealing(), nil
}

// BackupBegins marks the backup that an instance's step makes as begun.
func BackupBegins(s etcdschema.Snapshot, in etcdschema.Instance) ([]etcdschema.Op, error) {
	if in.Operation.Backup == "" {
		return nil, nil
	}
	key := etcdschema.BackupKey(in.Project, in.Operation.Backup)
	rec, err := etcdschema.Read(s, key)
	if err != nil || !rec.Found || rec.Value.Status != etcdschema.BackupNew {
		return nil, err
	}
	rec.Value.Status = etcdschema.BackupBuilding
	return []etcdschema.Op{etcdschema.Put(key, rec.Value)}, nil
}

// backups writes what the decision changes in backups: how one has ended, and which of them the instance still reads.
func (p *Plan) backups() error {
	end, is := p.d.Backup, p.d.Instance.Restore
	ids := slices.Concat(p.Before.Restore, is)
	if slices.Equal(p.Before.Restore, is) {
		ids = nil
	}
	if end != nil {
		ids = append(ids, end.ID)
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		key := etcdschema.BackupKey(p.project(), id)
		rec, err := etcdschema.Read(p.Snap, key)
		if err != nil {
			return err
		}
		if !rec.Found {
			continue
		}
		b := rec.Value
		b.Readers = WithMember(b.Readers, p.Before.ID, slices.Contains(is, id))
		if end != nil && id == end.ID {
			if err := p.endBackup(&b); err != nil {
				return err
			}
		}
		p.Snap = etcdschema.With(p.Snap, key, b)
		p.Put(etcdschema.Put(key, b))
	}
	return nil
}

// endBackup writes how a backup has ended. What a failed one has left in the store is removed, and its quota given back.
func (p *Plan) endBackup(b *etcdschema.Backup) error {
	end, now := p.d.Backup, p.now
	b.Updated = now
	failed := end.Result == nil && b.Running()
	switch {
	case end.Result != nil:
		b.BackupRef, b.Used, b.Status = end.Result.BackupRef, end.Result.Used, etcdschema.BackupCompleted
	case failed:
		b.Status, b.Fault = etcdschema.BackupFailed, end.Reason
	}
	b.Deleting = b.Deleting || end.Remove
	if !failed && !end.Remove {
		return p.settle(b)
	}
	p.Put(DueRemoval(b, now, now)...)
	usage, err := RefundBackups(p.Snap, b)
	p.Snap = p.Snap.After(usage...)
	p.Put(usage...)
	return err
}
