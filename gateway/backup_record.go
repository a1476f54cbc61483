package gateway

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
)

// defaultContainer is Trove's backup_swift_container.
const defaultContainer = "database_backups"

// backupPrefix is where a backup's segments are.
func backupPrefix(b etcdschema.Backup) string {
	return b.Container + "/" + b.Project + "/" + b.BackupID
}

// backupArgs ask a guest for the backup of that id, whose record is there.
func (p *plan) backupArgs(id string) (datastores.BackupArgs, error) {
	rec, err := etcdschema.Read(p.s, etcdschema.BackupKey(p.before.Project, id))
	b, err := mustFind(rec, err, "Backup", id)
	if err != nil {
		return datastores.BackupArgs{}, err
	}
	args := datastores.BackupArgs{BackupID: id, Strategy: b.Strategy.Name}
	if b.Parent != "" {
		parent, err := etcdschema.Read(p.s, etcdschema.BackupKey(p.before.Project, b.Parent))
		if err != nil {
			return args, err
		}
		args.Parent = &parent.Value.BackupRef
	}
	args.Key, err = p.streamKey()
	return args, err
}

// restoreArgs name the backups of a chain, the full one first.
func (p *plan) restoreArgs(chain []string) (*datastores.RestoreArgs, error) {
	args := &datastores.RestoreArgs{}
	for _, id := range chain {
		rec, err := etcdschema.Read(p.s, etcdschema.BackupKey(p.before.Project, id))
		b, err := mustFind(rec, err, "Backup", id)
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
func (p *plan) streamKey() (datastores.Secret, error) {
	key := etcdschema.StreamKeyKey(p.before.Project)
	rec, err := etcdschema.Read(p.s, key)
	if err != nil {
		return datastores.Secret{}, err
	}
	var raw []byte
	if rec.Found {
		if raw, err = p.keys.open(key.String(), rec.Value.Sealed); err != nil {
			return datastores.Secret{}, fmt.Errorf("the key of the project's backups: %w", err)
		}
	} else {
		raw = make([]byte, 32)
		_, _ = rand.Read(raw)
		p.put(etcdschema.Put(key, etcdschema.StreamKey{Sealed: p.keys.seal(key.String(), raw)}))
	}
	return datastores.NewSecret(base64.StdEncoding.EncodeToString(raw)).ForSealing(), nil
}

// backupBegins marks the backup that an instance's step makes as begun.
func backupBegins(s etcdschema.Snapshot, in etcdschema.Instance) ([]etcdschema.Op, error) {
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
func (p *plan) backups() error {
	end, is := p.d.Backup, p.d.Instance.Restore
	ids := slices.Concat(p.before.Restore, is)
	if slices.Equal(p.before.Restore, is) {
		ids = nil
	}
	if end != nil {
		ids = append(ids, end.ID)
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		key := etcdschema.BackupKey(p.before.Project, id)
		rec, err := etcdschema.Read(p.s, key)
		if err != nil {
			return err
		}
		if !rec.Found {
			continue
		}
		b := rec.Value
		b.Readers = withMember(b.Readers, p.before.ID, slices.Contains(is, id))
		if end != nil && id == end.ID {
			if err := p.endBackup(&b); err != nil {
				return err
			}
		}
		p.s = etcdschema.With(p.s, key, b)
		p.put(etcdschema.Put(key, b))
	}
	return nil
}

// endBackup writes how a backup has ended. What a failed one has left in the store is removed, and its quota given back.
func (p *plan) endBackup(b *etcdschema.Backup) error {
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
	b.Removing = now
	p.removed = append(p.removed, *b)
	usage, err := refundBackups(p.s, b)
	p.s = p.s.After(usage...)
	p.put(usage...)
	return err
}
