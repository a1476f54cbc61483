package datastoretest

import "fmt"

// Parameter tells what the running server at address has for a parameter.
func (m *Memory) Parameter(address, name string) (value string) {
	m.with(address, func(s *memoryServer) { value = fmt.Sprint(s.inForce[name]) })
	return value
}
