package etcdschema

import "time"

// SetWatchdog makes a store's watches less patient than 5 s.
func (s *Store) SetWatchdog(every time.Duration) { s.watchdog = every }
