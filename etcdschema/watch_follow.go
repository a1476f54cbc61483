package etcdschema

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Why a watch begins anew, beside what etcd says.
var (
	errStalled = errors.New("etcd did not answer the watch in time")
	errClosed  = errors.New("etcd closed the watch")
)

// errWentBack says that etcd has another history than the one that was told.
type errWentBack struct{ told, now int64 }

func (e *errWentBack) Error() string {
	return fmt.Sprintf("etcd is at revision %d of another history than the one watched up to %d (restored from a snapshot?)",
		e.now, e.told)
}

// silences is how many requests for progress may go unanswered.
const silences = 2

// follow watches from the next revision on. Each watchdog interval it asks etcd how far it is, which costs etcd no read
// and moves the revision over what happens elsewhere, so that compaction does not overtake an idle prefix. A ping of the
// connection would not do: it is answered by a member that is cut off from the others, too.
func (w *watch) follow(ctx context.Context, conn clientv3.Watcher) error {
	every := w.store.watchdog
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(every, cancel) // Watch returns only after etcd has answered
	answers := conn.Watch(ctx, w.prefix, clientv3.WithPrefix(), clientv3.WithRev(w.revision+1),
		clientv3.WithCreatedNotify(), clientv3.WithProgressNotify())
	if !late.Stop() {
		return errStalled
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for unanswered := 0; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case resp, ok := <-answers:
			if !ok {
				return errClosed
			}
			unanswered = 0
			if err := w.apply(ctx, resp); err != nil {
				return err
			}
		case <-tick.C:
			if unanswered++; unanswered > silences {
				return errStalled
			}
			if err := w.askProgress(ctx, conn, every); err != nil {
				return err
			}
		}
	}
}

func (w *watch) askProgress(ctx context.Context, conn clientv3.Watcher, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := conn.RequestProgress(ctx); err != nil {
		return fmt.Errorf("cannot ask for progress: %w", err)
	}
	return nil
}
