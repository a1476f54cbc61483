package redis

import (
	"github.com/cofferdb/coffer/datastores"
)

const stateFile = "redis-replication.json" // below Env.Dir, 0600: it holds a password

// state is what of replication has to outlive a restart.
type state struct {
	Source   *source `json:"source,omitempty"` // of a replica
	ReadOnly bool    `json:"read_only,omitempty"`
	// Fence is how far the server had come when it was made read-only: everything that it has acknowledged is before it.
	Fence *datastores.Position `json:"fence,omitempty"`
}

// source is the server that a replica follows.
type source struct {
	Address  string `json:"address"`
	User     string `json:"user"`
	Password string `json:"password"`
	Synced   bool   `json:"synced,omitempty"` // the first copy is complete
}

func (m *Manager) loadState() (state, error) {
	var st state
	err := m.own.LoadJSON(stateFile, &st)
	return st, err
}

func (m *Manager) saveState(st state) error { return m.own.SaveJSON(stateFile, st) }
