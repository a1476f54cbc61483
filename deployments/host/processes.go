package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
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

// processesOf lists the processes of a user, real, effective or saved, without those that only wait to be reaped.
func processesOf(uid int) []int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var pids []int
	for _, dir := range dirs {
		status, err := os.ReadFile(filepath.Join(dir, "status"))
		if err != nil || !hasUser(string(status), uid) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// hasUser reads a /proc/PID/status.
func hasUser(status string, uid int) bool {
	var has bool
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		switch {
		case name == "State" && len(fields) > 0 && fields[0] == "Z":
			return false
		case name == "Uid" && len(fields) == 4: // real, effective, saved, of the filesystem
			has = slices.Contains(fields[:3], strconv.Itoa(uid))
		}
	}
	return has
}

// retry calls f until it succeeds, for a time, and returns its last error.
func retry(d time.Duration, f func() error) error {
	for end := time.Now().Add(d); ; time.Sleep(killEvery) {
		if err := f(); err == nil || time.Now().After(end) {
			return err
		}
	}
}
