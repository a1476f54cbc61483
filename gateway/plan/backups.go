package plan

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/keyring"
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

// restoreArgs name the backups that an instance begins with, the full one first, and the log.
func (p *Plan) restoreArgs(in etcdschema.Instance) (*datastores.RestoreArgs, error) {
	args := &datastores.RestoreArgs{}
	if len(in.Restore) > 0 && strings.Contains(in.Restore[0], "/") {
		return p.grantedArgs(in)
	}
	for _, id := range in.Restore {
		rec, err := etcdschema.Read(p.Snap, etcdschema.BackupKey(p.project(), id))
		b, err := fault.Found(rec, err, "Backup", id)
		if err != nil {
			return nil, err
		}
		args.Chain = append(args.Chain, b.BackupRef)
	}
	raw, err := p.projectKey()
	args.Key = secretKey(raw)
	if log := in.Replay; log != nil && err == nil {
		args.Log = &datastores.ReplayArgs{Window: log.Window, First: log.First, Last: log.Last, Time: log.Time, Position: log.Position}
		args.Log.Key, err = windowKey(raw, log.Window)
	}
	return args, err
}

// grantedArgs are restoreArgs of what another project has granted: the guest is told the keys of those backups alone. A backup that is not
// granted any more is named without its key; the guest cannot read it, and says so.
func (p *Plan) grantedArgs(in etcdschema.Instance) (*datastores.RestoreArgs, error) {
	args := &datastores.RestoreArgs{}
	last, _ := in.RestoreKey(in.Restore[len(in.Restore)-1])
	top, err := etcdschema.Read(p.Snap, last)
	if err != nil {
		return nil, err
	}
	granted := top.Found && !top.Value.Deleting && top.Value.GrantedTo(in.Project)
	for _, name := range in.Restore {
		key, _ := in.RestoreKey(name)
		rec, err := etcdschema.Read(p.Snap, key)
		if err != nil {
			return nil, err
		}
		if !granted || !rec.Found || rec.Value.Deleting {
			_, id, _ := strings.Cut(name, "/")
			args.Chain, args.OwnKeys = append(args.Chain, datastores.BackupRef{BackupID: id, Strategy: top.Value.Strategy}), nil
			granted = false
			continue
		}
		raw, err := StreamKey(p.keys, p.Snap, rec.Value.Project)
		if err == nil {
			raw, err = datastores.OwnKey(raw, rec.Value.BackupID)
		}
		if err != nil {
			return nil, err
		}
		args.Chain, args.OwnKeys = append(args.Chain, rec.Value.BackupRef), append(args.OwnKeys, secretKey(raw))
	}
	return args, nil
}

// streamKey is the key of the project's backups as a guest takes it.
func (p *Plan) streamKey() (datastores.Secret, error) {
	raw, err := p.projectKey()
	return secretKey(raw), err
}

// projectKey is the key of the project's backups. It is made with the first one, and once when that has several parts.
func (p *Plan) projectKey() ([]byte, error) {
	raw, made, err := streamKey(p.keys, p.Snap, p.project())
	p.Snap = p.Snap.After(made...)
	p.Put(made...)
	return raw, err
}

// streamKey is the key of a project's backups, with what it takes to make it.
func streamKey(keys *keyring.Keyring, s etcdschema.Snapshot, project string) (raw []byte, made []etcdschema.Op, err error) {
	key := etcdschema.StreamKeyKey(project)
	rec, err := etcdschema.Read(s, key)
	switch {
	case err != nil:
	case rec.Found:
		if raw, err = keys.Open(key.String(), rec.Value.Sealed); err != nil {
			err = fmt.Errorf("the key of the project's backups: %w", err)
		}
	default:
		raw = make([]byte, 32)
		_, _ = rand.Read(raw)
		made = []etcdschema.Op{etcdschema.Put(key, etcdschema.StreamKey{Sealed: keys.Seal(key.String(), raw)})}
	}
	return raw, made, err
}

// StreamKey is the key of a project's backups, of which there must be some.
func StreamKey(keys *keyring.Keyring, s etcdschema.Snapshot, project string) ([]byte, error) {
	raw, made, err := streamKey(keys, s, project)
	if err == nil && made != nil {
		return nil, fmt.Errorf("project %s has no key for backups", project)
	}
	return raw, err
}

// AnyStreamKey is the key of a project's backups, with what it takes to make it when there is none yet.
func AnyStreamKey(keys *keyring.Keyring, s etcdschema.Snapshot, project string) (raw []byte, made []etcdschema.Op, err error) {
	return streamKey(keys, s, project)
}

func secretKey(raw []byte) datastores.Secret {
	return datastores.NewSecret(base64.StdEncoding.EncodeToString(raw)).ForSealing()
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
		key, foreign := p.Before.RestoreKey(id)
		if foreign { // which its project may delete at any time
			continue
		}
		rec, err := etcdschema.Read(p.Snap, key)
		if err != nil {
			return err
		}
		if !rec.Found {
			continue
		}
		b := rec.Value
		if id == restoredBackup(p.Before.Instance, p.d.Instance) && !b.Snapshot && b.Import == nil { // an import is of no instance here
			b.Restored = &etcdschema.Restored{At: p.now, Instance: p.Before.ID, Seconds: p.now.Sub(p.Before.Operation.Started).Seconds()}
			woken, err := WakeObjectives(p.Snap, b.Project, b.Instance, p.now)
			if err != nil {
				return err
			}
			p.Snap = p.Snap.After(woken...)
			p.Put(woken...)
		}
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

// restoredBackup is the backup of which an instance has just been made; "": it was not. A drill tells of itself.
func restoredBackup(before, after etcdschema.Instance) string {
	if n := len(before.Restore); n > 0 && !before.Prepared && after.Prepared && before.Operation != nil && before.DrillOf == "" {
		return before.Restore[n-1]
	}
	return ""
}

// endBackup writes how a backup has ended. What a failed one has left in the store is removed, and its quota given back.
func (p *Plan) endBackup(b *etcdschema.Backup) error {
	end, now := p.d.Backup, p.now
	if b.Cluster != "" && !b.Running() { // which has failed with another part
		return nil
	}
	b.Updated = now
	failed := end.Result == nil && b.Running()
	switch {
	case end.Result != nil:
		b.BackupRef, b.Used = end.Result.BackupRef, end.Result.Used
		if len(b.Parts) == 0 { // else when all are complete: see kept
			b.Status = etcdschema.BackupCompleted
		}
		if b.Log != nil {
			b.Log.At = end.Result.At
		}
	case failed:
		b.Status, b.Fault = etcdschema.BackupFailed, end.Reason
	}
	b.Deleting = b.Deleting || end.Remove
	if !failed && !end.Remove {
		keeper, err := p.keeper(*b)
		if err != nil {
			return err
		}
		for _, of := range []string{b.Instance, keeper} {
			if of == "" {
				continue
			}
			woken, err := WakeObjectives(p.Snap, b.Project, of, now)
			if err != nil {
				return err
			}
			p.Snap = p.Snap.After(woken...)
			p.Put(woken...)
		}
		return p.settle(b)
	}
	p.Put(DueRemoval(b, now, now)...)
	usage, err := RefundBackups(p.Snap, b)
	p.Snap = p.Snap.After(usage...)
	p.Put(usage...)
	return err
}
