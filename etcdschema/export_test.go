package etcdschema

import "time"

// SetWatchdog makes a store's watches less patient than 5 s.
func (s *Store) SetWatchdog(every time.Duration) { s.watchdog = every }

// KeyErr is the error that the verbs return for a key.
func KeyErr[T any](k Key[T]) error { return k.err }
