package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// phase is how far the making of the server has come.
type phase string

const (
	phaseNew      phase = ""
	phaseBuilding phase = "building" // prepare was begun
	phaseFailed   phase = "failed"   // prepare has failed
	phasePrepared phase = "prepared"
)

// state is what a guest must know of its server through its own restarts.
type state struct {
	Phase phase `json:"phase"`
	// Running is whether the server should run, not whether it does.
	Running bool `json:"running"`
}

const stateName = "server.json"

// stateFile keeps the state on disk.
type stateFile struct {
	dir string

	mu  sync.Mutex
	now state
}

func openState(dir string) (*stateFile, error) {
	s := &stateFile{dir: dir}
	b, err := os.ReadFile(filepath.Join(dir, stateName))
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s.now)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the state of the server: %w", err)
	}
	return s, nil
}

func (s *stateFile) get() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// set stores a state durably before it is in force.
func (s *stateFile) set(next state) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next == s.now {
		return nil
	}
	b, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := service.WriteFile(s.dir, stateName, b, -1, -1); err != nil {
		return fmt.Errorf("cannot store the state of the server: %w", err)
	}
	s.now = next
	return nil
}

// usable returns an error unless there is a server that should run.
func (g *Guest) usable() error {
	switch s := g.state.get(); {
	case s.Phase != phasePrepared:
		return datastores.Errorf(datastores.Conflict, "the database server is not prepared yet")
	case !s.Running:
		return datastores.Errorf(datastores.Conflict, "the database server is stopped; start it first")
	}
	return nil
}
