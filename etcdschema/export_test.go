package etcdschema

import "time"

// SetWatchdog makes a store's watches less patient than 5 s.
func (s *Store) SetWatchdog(every time.Duration) { s.watchdog = every }

// KeyErr is the error that the verbs return for a key.
func KeyErr[T any](k Key[T]) error { return k.err }

// Crowd makes transactions wait for one another until release is called.
func (s *Store) Crowd() (release func()) {
	g := &s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	g.flying += goAlone
	return func() {
		for range goAlone {
			g.landed()
		}
	}
}

// Waiting is how many transactions wait.
func (s *Store) Waiting() int {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	return len(s.group.waiting)
}
