package plan

import (
	"slices"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/etcdschema"
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
	case etcdschema.MemberLeaving, etcdschema.MemberLeft:
		return datastores.ClusterLeaves
	}
	if m.State == etcdschema.MemberOutside && set.Operation != nil && slices.Contains(set.Operation.Turn, m.ID) {
		return datastores.ClusterJoins
	}
	return datastores.ClusterOutside
}
