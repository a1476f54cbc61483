package sandbox

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// guestStopTimeout is how long a guest that is told to end may take.
const guestStopTimeout = 10 * time.Second

// Init is process 1 of a sandbox: it runs the guest, whose command line is argv, and starts it again when it ends, until all
// is to end. It reaps what others leave.
//
//   - SIGHUP ends the guest alone, and starts it anew: from another file, if the link at argv[0] leads to one by now.
//   - SIGTERM asks every process to end. When none is left, Init returns the exit status.
func Init(argv []string, stderr io.Writer) int {
	if len(argv) == 0 || !filepath.IsAbs(argv[0]) {
		_, _ = fmt.Fprintln(stderr, "coffer-host init: want the guest's command line, with an absolute path")
		return 2
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGHUP, syscall.SIGTERM)
	in := &initProcess{argv: argv, stderr: stderr, timer: time.NewTimer(0)}
	for {
		select {
		case <-in.timer.C:
			in.due()
		case sig := <-signals:
			switch sig {
			case syscall.SIGHUP:
				in.restart()
			case syscall.SIGTERM:
				in.ending = true
				_ = syscall.Kill(-1, syscall.SIGTERM) // everybody but process 1: kill(2)
			}
			if none := in.reap(); none && in.ending {
				return 0
			}
		}
	}
}

type initProcess struct {
	argv     []string
	stderr   io.Writer
	guest    int // 0: it does not run
	stopping bool
	ending   bool
	restarts Restarts
	timer    *time.Timer // when the guest is to be started, or killed because it did not end
}

// due starts the guest, or kills the one that was told to end and has not.
func (i *initProcess) due() {
	switch {
	case i.ending:
	case i.guest == 0:
		i.start()
	case i.stopping:
		_ = syscall.Kill(i.guest, syscall.SIGKILL)
	}
}

func (i *initProcess) start() {
	now := time.Now()
	i.restarts.Started(now)
	pid, err := syscall.ForkExec(i.argv[0], i.argv, &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		_, _ = fmt.Fprintf(i.stderr, "coffer-host init: cannot start the guest: %v\n", err)
		i.timer.Reset(time.Until(i.restarts.Due()))
		return
	}
	i.guest, i.stopping = pid, false
}

// restart ends the guest, if it runs; what follows does not count as another failure.
func (i *initProcess) restart() {
	i.restarts = Restarts{}
	if i.guest == 0 {
		i.timer.Reset(0)
		return
	}
	i.stopping = true
	_ = syscall.Kill(i.guest, syscall.SIGTERM)
	i.timer.Reset(guestStopTimeout)
}

// reap takes the status of every process that has ended, and reports whether none is left.
func (i *initProcess) reap() (none bool) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return true // ECHILD
		case pid == 0:
			return false
		case pid != i.guest:
			continue
		}
		i.guest = 0
		if !i.stopping && !i.ending {
			_, _ = fmt.Fprintf(i.stderr, "coffer-host init: the guest has ended: %s\n", describe(status))
		}
		i.stopping = false
		i.timer.Reset(time.Until(i.restarts.Due()))
	}
}

func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return fmt.Sprintf("signal %d (%s)", status.Signal(), status.Signal())
	}
	return fmt.Sprintf("status %d", status.ExitStatus())
}
