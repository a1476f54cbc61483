package redis

import (
	"github.com/cofferdb/coffer/datastores"
)

const sideName = "redis-replication.json" // below Env.Dir, 0600: it holds a password

// side is the server's side in a replication, as it shall be after a restart.
type side struct {
	Source   *source    `json:"source,omitempty"`  // of a replica
	Cluster  *inCluster `json:"cluster,omitempty"` // of a member, from its prepare on
	ReadOnly bool       `json:"read_only,omitempty"`
	// Mark is how far the server had come when it was made read-only: everything that it has acknowledged is before it.
	Mark *datastores.Position `json:"fence,omitempty"`
	// Await is of how many replicas it must have heard lately to take a write.
	Await int `json:"await,omitempty"`
}

// source is the server that a replica follows.
type source struct {
	Address  string `json:"address"`
	User     string `json:"user"`
	Password string `json:"password"`
	Synced   bool   `json:"synced,omitempty"` // the first copy is complete
	// Fenced: the replica receives nothing more from it. Voted is how far it had come by then.
	Fenced bool                 `json:"fenced,omitempty"`
	Voted  *datastores.Position `json:"voted,omitempty"`
}

// inCluster is what a member keeps of its cluster.
type inCluster struct {
	ID     string `json:"id"`
	Secret string `json:"secret"` // the password of clusterUser
}

func (m *Manager) loadSide() (side, error) {
	var st side
	err := m.own.LoadJSON(sideName, &st)
	return st, err
}

func (m *Manager) saveSide(st side) error { return m.own.SaveJSON(sideName, st) }
