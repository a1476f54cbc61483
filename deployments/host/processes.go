package host

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/cofferdb/coffer/datastores/service"
)

const killEvery = 20 * time.Millisecond

// killAll kills every process that find returns, until it returns none: a process may have forked meanwhile.
func killAll(ctx context.Context, find func() []int) error {
	for {
		pids := find()
		if len(pids) == 0 {
			return nil
		}
		kill(pids, find)
		select {
		case <-time.After(killEvery):
		case <-ctx.Done():
			return fmt.Errorf("processes %v have not ended after SIGKILL: %w", pids, ctx.Err())
		}
	}
}

// kill kills those of the processes that find still returns once each is held by a handle, for what a handle (a pidfd)
// names cannot change any more. So none is killed that got the number of one that ended.
func kill(pids []int, find func() []int) {
	var held []*os.Process
	for _, pid := range pids {
		if p, err := os.FindProcess(pid); err == nil {
			held = append(held, p)
		}
	}
	still := find()
	for _, p := range held {
		if slices.Contains(still, p.Pid) {
			_ = p.Kill() // a failure shows in the next look
		}
		_ = p.Release()
	}
}

// processesOf lists the processes of a user that have not ended.
func processesOf(uid int) []int { return service.ProcessesOf(uid) }

// retry calls f until it succeeds, for a time, and returns its last error.
func retry(d time.Duration, f func() error) error {
	for end := time.Now().Add(d); ; time.Sleep(killEvery) {
		if err := f(); err == nil || time.Now().After(end) {
			return err
		}
	}
}
