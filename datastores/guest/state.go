package guest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sync"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
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
	// Attaching: the server is being made a replica of another one. What it holds may be half there.
	Attaching bool `json:"attaching,omitempty"`
	// Options are those of the last upgrade; nil: those of the enrolment.
	Options json.RawMessage `json:"options,omitempty"`
	// Upgrading are the options of the version that the data may have come half way to; nil: they are of Options' version.
	Upgrading json.RawMessage `json:"upgrading,omitempty"`
	// Formatting is the block device that was found blank, while a filesystem is being made on it.
	Formatting string    `json:"formatting,omitempty"`
	Overrides  overrides `json:"overrides,omitzero"`
	// Modules are those that the server has, or has half.
	Modules []datastores.ModuleState `json:"modules,omitempty"`
	// TLS is nil until the server is started for the first time by a guest that knows of it.
	TLS *tlsState `json:"tls,omitempty"`
}

// between reports whether the data is on the way from one state to another, so that only the command that has begun it, run
// again, may start the server.
func (s state) between() bool { return s.Attaching || s.Upgrading != nil }

const stateName = "server.json"

// stateFile keeps the state on disk.
type stateFile struct {
	dir string

	mu  sync.Mutex
	now state
}

func openState(dir string) (*stateFile, error) {
	s := &stateFile{dir: dir}
	if err := volume.At(dir).LoadJSON(stateName, &s.now); err != nil {
		return nil, fmt.Errorf("cannot read the state of the server: %w", err)
	}
	return s, nil
}

func (s *stateFile) get() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// change stores durably what f makes of the state before it is in force.
func (s *stateFile) change(f func(*state)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.now
	f(&next)
	if reflect.DeepEqual(next, s.now) {
		return nil
	}
	if err := volume.At(s.dir).SaveJSON(stateName, next); err != nil {
		return fmt.Errorf("cannot store the state of the server: %w", err)
	}
	s.now = next
	return nil
}

// prepared returns an error unless there is a server.
func (g *Guest) prepared() error {
	switch s := g.state.get(); {
	case s.Phase != phasePrepared:
		return datastores.Errorf(datastores.Conflict, "the database server is not prepared yet")
	case s.Upgrading != nil:
		return datastores.Errorf(datastores.Conflict, "an upgrade of the database server has begun and not succeeded yet: upgrade again")
	}
	return nil
}

// usable returns an error unless there is a server that should run.
func (g *Guest) usable() error {
	if err := g.prepared(); err != nil {
		return err
	}
	switch s := g.state.get(); {
	case s.Attaching:
		return datastores.Errorf(datastores.Conflict, "the database server is being made a replica")
	case !s.Running:
		return datastores.Errorf(datastores.Conflict, "the database server is stopped; start it first")
	}
	return nil
}
