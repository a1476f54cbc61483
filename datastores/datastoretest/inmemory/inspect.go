package inmemory

import "fmt"

// Parameter tells what the running server at address has for a parameter.
func (m *Datastore) Parameter(address, name string) (value string) {
	m.with(address, func(s *server) { value = fmt.Sprint(s.inForce[name]) })
	return value
}

// Stall makes the server at address say that it does not go on, for that reason, until it is restarted.
func (m *Datastore) Stall(address, reason string) {
	m.with(address, func(s *server) { s.stalled = reason })
}
