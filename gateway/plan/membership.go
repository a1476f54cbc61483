package plan

import (
	"slices"

	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/lifecycle"
)

// JoinConfiguration lists a new instance in the configuration group that it is made with.
func JoinConfiguration(s etcdschema.Snapshot, in etcdschema.Instance) ([]etcdschema.Op, error) {
	if in.Configuration == "" {
		return nil, nil
	}
	return memberOf(s, in, in.Configuration, true)
}

// memberOf lists an instance in a configuration group, or takes it out. A group that was deleted lists nobody and cannot be joined.
func memberOf(s etcdschema.Snapshot, in etcdschema.Instance, group string, joins bool) ([]etcdschema.Op, error) {
	key := etcdschema.ConfigurationKey(in.Project, group)
	rec, err := etcdschema.Read(s, key)
	switch {
	case err != nil:
		return nil, err
	case !rec.Found && joins:
		return nil, fault.NotFound("Configuration", group)
	case !rec.Found:
		return nil, nil
	}
	rec.Value.Instances = WithMember(rec.Value.Instances, in.ID, joins)
	return []etcdschema.Op{etcdschema.Put(key, rec.Value)}, nil
}

// membership keeps the list of instances in the configuration groups that the instance begins or ceases to refer to. A group
// that was deleted meanwhile is refused.
func (p *Plan) membership() error {
	is := lifecycle.Groups(p.d.Instance)
	if p.d.Gone {
		is = nil
	}
	if err := p.regroup(p.Before.Instance, is); err != nil {
		return err
	}
	after := p.d.Instance.Modules
	if p.d.Gone {
		after = nil
	}
	if err := p.recount(p.Before.Modules, after); err != nil {
		return err
	}
	for _, peer := range p.d.Peers {
		was, err := p.look(peer.ID)
		if err == nil {
			err = p.regroup(was, lifecycle.Groups(peer))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Plan) regroup(before etcdschema.Instance, is []string) error {
	was := lifecycle.Groups(before)
	for _, id := range slices.Concat(was, is) {
		if slices.Contains(was, id) && slices.Contains(is, id) {
			continue
		}
		ops, err := memberOf(p.Snap, before, id, slices.Contains(is, id))
		if err != nil {
			return err
		}
		p.Put(ops...)
	}
	return nil
}

// WithMember returns ids with or without that one.
func WithMember(ids []string, id string, is bool) []string {
	ids = slices.DeleteFunc(slices.Clone(ids), func(one string) bool { return one == id })
	if is {
		ids = append(ids, id)
	}
	return ids
}

// MayBeParent refuses to build a backup of an instance on another one.
func MayBeParent(parent etcdschema.Backup, in etcdschema.Instance) error {
	switch {
	case parent.Status != etcdschema.BackupCompleted:
		return fault.Errorf(fault.Conflict, "Backup %s is not complete (%s), so nothing can be built on it.", parent.BackupID, parent.Status)
	case parent.Created.Before(in.Moved): // the server's files are others
		return fault.Errorf(fault.BadRequest, "Backup %s was made before instance %s moved to another host; begin again with a full backup.", parent.BackupID, in.ID)
	case parent.Instance != in.ID || parent.Version != in.Version || parent.Snapshot:
		return fault.Errorf(fault.BadRequest, "Backup %s is of instance %s, version %s; a parent must be of this one as it is now.", parent.BackupID, parent.Instance, parent.Version)
	}
	return nil
}

// JoinParent lists a new backup of an instance with the one that it builds on.
func JoinParent(s etcdschema.Snapshot, in etcdschema.Instance, b etcdschema.Backup) ([]etcdschema.Op, error) {
	if in.Version != b.Version {
		return nil, fault.Errorf(fault.Conflict, "Instance %s has just got version %s; ask for the backup again.", in.ID, in.Version)
	}
	if b.Parent == "" {
		return nil, nil
	}
	key := etcdschema.BackupKey(b.Project, b.Parent)
	rec, err := etcdschema.Read(s, key)
	if err == nil && (!rec.Found || rec.Value.Deleting) {
		err = fault.NotFound("Backup", b.Parent)
	}
	if err == nil {
		err = MayBeParent(rec.Value, in)
	}
	rec.Value.Children = WithMember(rec.Value.Children, b.BackupID, true)
	return []etcdschema.Op{etcdschema.Put(key, rec.Value)}, err
}

// JoinBackups lists a new instance as a reader of the backups that it begins with.
func JoinBackups(s etcdschema.Snapshot, in etcdschema.Instance) ([]etcdschema.Op, error) {
	var ops []etcdschema.Op
	for i, id := range in.Restore {
		key, foreign := in.RestoreKey(id)
		rec, err := etcdschema.Read(s, key)
		if err == nil && (!rec.Found || rec.Value.Deleting) {
			err = fault.NotFound("Backup", id)
		}
		if err != nil {
			return nil, err
		}
		if rec.Value.Status != etcdschema.BackupCompleted {
			return nil, fault.Errorf(fault.Conflict, "Backup %s is not complete (%s).", id, rec.Value.Status)
		}
		if foreign {
			if i == len(in.Restore)-1 && !rec.Value.GrantedTo(in.Project) {
				return nil, fault.NotFound("Backup", rec.Value.BackupID)
			}
			continue
		}
		rec.Value.Readers = WithMember(rec.Value.Readers, in.ID, true)
		ops = append(ops, etcdschema.Put(key, rec.Value))
	}
	return ops, nil
}

// MayFollow refuses a replica of an instance that cannot be a source now, or is not as it was when the replica was ordered.
func MayFollow(source lifecycle.Member, in etcdschema.Instance) error {
	if err := NoDrill(source.Instance); err != nil {
		return err
	}
	if source.Clustered() {
		return fault.Errorf(fault.NotImplemented, "Operation not supported for instances that are part of a cluster: %s has no replicas of its own; add members to cluster %s with grow.", source.ID, source.SetID)
	}
	if of := source.ReplicaOf(); of != "" {
		return fault.Errorf(fault.Unauthorized, "Instance %s is a replica itself; replicate its source %s.", source.ID, of)
	}
	if source.VolumeGB != in.VolumeGB || source.Flavor != in.Flavor || source.Version != in.Version {
		return fault.Errorf(fault.Conflict, "Instance %s has just got another size or version; ask for the replica again.", source.ID)
	}
	return lifecycle.Leads(source)
}

// MemberOf reads the set of an instance.
func MemberOf(s etcdschema.Snapshot, in etcdschema.Instance) (lifecycle.Member, error) {
	m := lifecycle.Alone(in)
	if in.SetID == "" {
		return m, nil
	}
	rec, err := etcdschema.Read(s, etcdschema.SetKey(in.Project, in.SetID))
	m.Set = rec.Value
	return m, err
}
