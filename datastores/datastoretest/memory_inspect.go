package datastoretest

import "fmt"

// Parameter tells what the running server at address has for a parameter.
func (m *Memory) Parameter(address, name string) (value string) {
	m.with(address, func(s *memoryServer) { value = fmt.Sprint(s.inForce[name]) })
	return value
}

// Stall makes the server at address say that it does not go on, for that reason, until it is restarted.
func (m *Memory) Stall(address, reason string) {
	m.with(address, func(s *memoryServer) { s.stalled = reason })
}
