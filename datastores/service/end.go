package service

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const endTimeout = 15 * time.Second // for EndUser, of a context without a deadline

// EndUser kills every process of a user and returns when none is left. None escapes, however fast it forks: one process that is that
// user tells the kernel to kill all that it may, which is one step to the kernel. The users of root and of the guest itself,
// and any user when the guest is not root, are left alone: nobody else's server could be told from it.
//
// [Service.Start] does it before it starts a server, and [Service.Stop] when it has ended one, for [Service].Credential: what a
// tenant's code has left could change the data behind the guest's back. So a user belongs to one server.
func EndUser(ctx context.Context, as *syscall.Credential) error {
	if as == nil || as.Uid == 0 || os.Geteuid() != 0 {
		return nil
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, endTimeout)
		defer cancel()
	}
	for {
		err := killAs(ctx, as)
		left := ProcessesOf(int(as.Uid))
		if err == nil && len(left) == 0 {
			return nil
		}
		for _, pid := range left { // there may be so many that no other can be started
			killOf(pid, int(as.Uid))
		}
		if !Pause(ctx, pollEvery) {
			return fmt.Errorf("%d processes of the server's user have not ended after SIGKILL (%w): %w", len(left), err, ctx.Err())
		}
	}
}

// killAs runs a program as the user, all of whose other processes it kills: kill(2) of -1. A shell is what every machine has; nothing
// of anybody's is in what it is told. It may be killed itself, by one that does the same.
func killAs(ctx context.Context, as *syscall.Credential) error {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", "kill -s KILL -- -1")
	cmd.Env, cmd.Dir = plainEnv(), "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Setsid: true}
	return cmd.Run()
}

// killOf kills a process that is still the user's once it is held: what a pidfd names cannot change any more.
func killOf(pid, uid int) {
	p, err := os.FindProcess(pid)
	if err != nil {
		return
	}
	defer func() { _ = p.Release() }()
	if isOf(pid, uid) {
		_ = p.Kill() // a failure shows in the next look
	}
}

// ProcessesOf lists the processes of a user, real, effective or saved, without those that have ended and only wait to be reaped.
func ProcessesOf(uid int) []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && isOf(pid, uid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// isOf reports whether a process that has not ended is of the user.
func isOf(pid, uid int) bool {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil || !hasUser(string(status), uid) {
		return false
	}
	p, err := inspect(pid)
	return err == nil && !p.ended
}

// hasUser reads a /proc/PID/status.
func hasUser(status string, uid int) bool {
	for line := range strings.Lines(status) {
		if ids, ok := strings.CutPrefix(line, "Uid:"); ok { // real, effective, saved, of the filesystem
			fields := strings.Fields(ids)
			return slices.Contains(fields[:min(3, len(fields))], strconv.Itoa(uid))
		}
	}
	return false
}
