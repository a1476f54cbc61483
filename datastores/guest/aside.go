package guest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cofferdb/coffer/datastores"
)

// aside is where one backup runs beside the calls that hold the turn. The zero one is ready.
type aside struct {
	mu     sync.Mutex
	cancel context.CancelCauseFunc // nil: nothing runs
	ended  chan struct{}
}

// begin takes the slot. The context ends with ctx, or when another operation needs the server for itself. done releases the
// slot. If another operation cut this one short, it returns that reason instead of the error that followed.
func (a *aside) begin(ctx context.Context) (_ context.Context, done func(error) error, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cancel != nil {
		return ctx, nil, datastores.Errorf(datastores.Conflict, "another backup is being made")
	}
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	a.cancel, a.ended = cancel, ended
	return ctx, func(err error) error {
		if cause := context.Cause(ctx); err != nil && cause != nil && outer.Err() == nil {
			err = cause
		}
		a.mu.Lock()
		a.cancel = nil
		a.mu.Unlock()
		cancel(nil)
		close(ended)
		return err
	}, nil
}

// busy reports whether something runs.
func (a *aside) busy() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cancel != nil
}

// end ends what runs and returns when it has ended. Its callers hold the turn, so that nothing else begins meanwhile.
func (a *aside) end(ctx context.Context, reason string) error {
	a.mu.Lock()
	cancel, ended := a.cancel, a.ended
	a.mu.Unlock()
	if cancel == nil {
		return nil
	}
	cancel(fmt.Errorf("it was ended: %w", datastores.Errorf(datastores.Conflict, "%s", reason)))
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("a backup that was told to end has not ended"), ctx.Err())
	}
}
