package plan

import (
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/keyring"
)

// SealSecret puts into a new cluster's record what its members know each other by.
func SealSecret(k *keyring.Keyring, set *etcdschema.Set) {
	set.Secret = k.Seal(etcdschema.SetKey(set.Project, set.ID).String(), []byte(NewPassword()))
}

// clusterView is what a member is told of its cluster.
func (p *Plan) clusterView(self string) (datastores.ClusterView, error) {
	set := p.d.Set
	secret, err := p.keys.Open(etcdschema.SetKey(set.Project, set.ID).String(), set.Secret)
	v := datastores.ClusterView{ID: set.ID, Self: self, Secret: datastores.NewSecret(string(secret)).ForSealing()}
	for _, m := range set.Members {
		v.Members = append(v.Members, datastores.ClusterMember{ID: m.ID, Address: m.Address, Shard: m.Shard, State: stateOf(set, m)})
	}
	return v, err
}

func stateOf(set etcdschema.Set, m etcdschema.SetMember) datastores.ClusterState {
	switch m.State {
	case "":
		return datastores.ClusterIn
	case etcdschema.MemberLost:
		return datastores.ClusterLost
	case etcdschema.MemberLeaving, etcdschema.MemberLeft:
		return datastores.ClusterLeaves
	}
	if m.State == etcdschema.MemberOutside && set.Operation != nil && slices.Contains(set.Operation.Turn, m.ID) {
		return datastores.ClusterJoins
	}
	return datastores.ClusterOutside
}

// kept ends the backup of a cluster: it is complete, or failed with all its parts. What those have left in the store is removed then, and
// their quota given back.
func (p *Plan) kept() error {
	end := p.d.Kept
	if end == nil {
		return nil
	}
	read := func(id string) (*etcdschema.Backup, error) {
		rec, err := etcdschema.Read(p.Snap, etcdschema.BackupKey(p.project(), id))
		b, err := fault.Found(rec, err, "Backup", id)
		return &b, err
	}
	b, err := read(end.ID)
	if fault.IsNotFound(err) { // as of one that an instance alone has made, nothing is left to write
		return nil
	}
	if err != nil {
		return err
	}
	all := []*etcdschema.Backup{b}
	for i := range b.Parts {
		part, err := read(b.Parts[i].ID)
		if err != nil {
			return err
		}
		b.Parts[i].Used, b.Parts[i].Stored = part.Used, part.Stored
		all = append(all, part)
	}
	b.Status, b.Updated = etcdschema.BackupCompleted, p.now
	if end.Reason != "" {
		for _, part := range all {
			part.Status, part.Fault, part.Updated = etcdschema.BackupFailed, end.Reason, p.now
			p.Put(DueRemoval(part, p.now, p.now)...)
		}
		usage, err := RefundBackups(p.Snap, all...)
		if err != nil {
			return err
		}
		p.Snap = p.Snap.After(usage...)
		p.Put(usage...)
	}
	for _, part := range all {
		key := etcdschema.BackupKey(part.Project, part.BackupID)
		p.Snap = etcdschema.With(p.Snap, key, *part)
		p.Put(etcdschema.Put(key, *part))
	}
	return nil
}
