package redis

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
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
	b, err := os.ReadFile(filepath.Join(m.env.Dir, stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return st, nil
	}
	if err == nil && json.Unmarshal(b, &st) != nil {
		err = errors.New("the file is damaged") // the error of encoding/json may quote it
	}
	if err != nil {
		return st, fmt.Errorf("cannot read %s: %w", stateFile, err)
	}
	return st, nil
}

func (m *Manager) saveState(st state) error {
	b, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return service.WriteFile(m.env.Dir, stateFile, b, -1, -1)
}
