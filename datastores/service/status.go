package service

import (
	"context"
	"os"

	"github.com/cofferdb/coffer/datastores"
)

// Status is what a manager reports of its server: healthy when check is content, blocked, with its error, when the process is
// there all the same, shutdown when it is not. It has the last words of a server that has ended by itself.
func (s *Service) Status(ctx context.Context, check func(context.Context) error) datastores.Status {
	_, since, running := s.Running()
	if !running {
		gone := datastores.Status{Service: datastores.StatusShutdown}
		if _, err := os.Lstat(s.pidFile()); err == nil { // Stop would have removed it
			gone.Message = s.LastWords()
		}
		return gone
	}
	if err := check(ctx); err != nil {
		return datastores.Status{Service: datastores.StatusBlocked, Since: since, Message: err.Error()}
	}
	return datastores.Status{Service: datastores.StatusHealthy, Since: since}
}
