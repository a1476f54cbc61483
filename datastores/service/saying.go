package service

import (
	"context"
	"errors"
	"time"

	"github.com/cofferdb/coffer/datastores"
)

const (
	stuck    = 60 * time.Second // how long a check may say the same of what is still missing
	askAgain = 50 * time.Millisecond
)

// AwaitSaying calls check until it returns nil, or an error of kind Conflict. It gives up, with an error of kind Unavailable, when the
// context ends, or what check says has not changed for a minute.
func AwaitSaying(ctx context.Context, check func() error) error {
	said, since := "", time.Now()
	for {
		err := check()
		if final := new(datastores.Error); err == nil || errors.As(err, &final) && final.Kind == datastores.Conflict {
			return err
		}
		if err.Error() != said {
			said, since = err.Error(), time.Now()
		}
		if time.Since(since) > stuck || !Pause(ctx, askAgain) {
			return datastores.Errorf(datastores.Unavailable, "%s", said)
		}
	}
}

// tellEvery is how often [Telling] tells.
const tellEvery = 10 * time.Second

// Telling calls do, and meanwhile tell every ten seconds, for what may take long and does not say itself how far it is.
func Telling(do func() error, tell func()) error {
	ended := make(chan error, 1)
	go func() { ended <- do() }()
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-tick.C:
			tell()
		}
	}
}
