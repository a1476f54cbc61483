package datastoretest

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/cofferdb/coffer/datastores/service"
)

// KillServer ends a server that runs as the kernel does when memory is short, and waits for its end: for [Harness].Kill.
func KillServer(ctx context.Context, s *service.Service) error {
	pid, _, running := s.Running()
	if !running {
		return errors.New("there is no server")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	for running {
		if _, _, running = s.Running(); running && !service.Pause(ctx, 5*time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}
