package datastoretest

import (
	"slices"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// testMemory: a server that is started with more memory, as after a resize, uses it, and has lost nothing. What it uses is seen
// in its parameters, or where it has none in how its processes are started.
func testMemory(t *testing.T, s *server) {
	s.visitAndWrite(t)
	smaller := s.env.MemoryMB
	watched := s.followsMemory(t)
	before := s.uses(t, watched)
	defer func() {
		s.env.MemoryMB = smaller
		s.restart(t)
	}()
	s.env.MemoryMB *= 2
	s.restart(t)
	s.wantKept(t)
	if len(watched) == 0 && len(before) == 0 {
		t.Skip("no parameter follows the memory: not tested")
	}
	after := s.uses(t, watched)
	for name, text := range after {
		if text == before[name] {
			t.Errorf("%s is %s with %d MB and with %d MB", name, text, smaller, s.env.MemoryMB)
		}
	}
}

// followsMemory are the parameters whose defaults depend on the memory.
func (s *server) followsMemory(t *testing.T) datastores.Values {
	t.Helper()
	m, ok := s.manager.(datastores.Configuration)
	if !ok {
		return nil
	}
	more := *s
	more.env.MemoryMB *= 2
	less, watched := m.DefaultConfiguration(), datastores.Values{}
	for name, text := range more.open(t).(datastores.Configuration).DefaultConfiguration() {
		if less[name] != text && slices.ContainsFunc(m.Parameters(), func(p datastores.Parameter) bool { return p.Name == name }) {
			watched[name] = text
		}
	}
	return watched
}

// uses tells what the running server has for parameters, or, for a datastore without any, how its processes
// were started.
func (s *server) uses(t *testing.T, parameters datastores.Values) map[string]string {
	t.Helper()
	if _, ok := s.manager.(datastores.Configuration); ok {
		if s.Show == nil {
			t.Fatalf("the harness lacks Show, which a datastore of capability %s must have", datastores.CanConfiguration)
		}
		return s.shown(t, parameters)
	}
	var started []string
	for _, p := range s.processes(t) {
		started = append(started, strings.Join(p.argv, " "))
	}
	if started == nil {
		return nil
	}
	slices.Sort(started)
	return map[string]string{"what the processes were started with": strings.Join(started, "; ")}
}
