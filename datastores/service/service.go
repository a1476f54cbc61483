package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// Service is one database server process. Make it with [New], fill in the rest, and use it by pointer. Start and Stop must not be called
// concurrently; Running may be called at any time.
type Service struct {
	// Name is the pid file's name, without ".pid", and the word for the server in errors.
	Name string
	// Dir holds the pid file. Only the guest should be able to write there.
	Dir string
	// Argv is the server's command line, with an absolute program. It must run in the foreground. It should name the
	// instance (by its configuration file), for a server that has lost its pid file is known by it, too: see [Service.Running].
	Argv []string
	// Env is the whole environment; nil is a plain PATH and C.UTF-8.
	Env []string
	// ExtraEnv is added to Env, or to the plain one.
	ExtraEnv []string
	// WorkDir is the working directory; "" is "/".
	WorkDir string
	// Credential is the user to run as, who belongs to this server alone; nil is the guest's own. See [Credential] and [EndUser].
	Credential *syscall.Credential
	// CgroupDirs are control group directories into which the server is moved as soon as it is there. A server that
	// cannot be moved is ended, and Start fails: a limit is never silently missing.
	CgroupDirs []string
	// LogDir is where LogFile is: the volume of a server whose tenants can make it write as much as they like, see [volume.Data].
	LogDir volume.Dir
	// LogFile takes standard output and error; "" is /dev/null. The directory that it names must be there. Whoever starts the
	// server bounds it, see [volume.Dir.Trim]: the guest runtime does, of logs that a manager offers.
	LogFile string
	// StopSignal is what asks the server to end; 0 is SIGTERM.
	StopSignal syscall.Signal
	// StopTimeout is how long Stop waits before SIGKILL; 0 is 60 s. A sooner deadline of Stop's context shortens it.
	StopTimeout time.Duration
	// AnswerTimeout is how long one check of Await may take; 0 is a minute. What gets no answer is asked again.
	AnswerTimeout time.Duration

	mu     sync.Mutex
	reaped chan struct{} // closed when the child of the last Start is reaped; nil when this guest started none
}

const (
	defaultStopTimeout   = 60 * time.Second
	defaultAnswerTimeout = time.Minute
	killMargin           = 5 * time.Second // of a deadline, kept for SIGKILL and what comes after it
	pollEvery            = 10 * time.Millisecond
)

// New returns the service of the server in env: in its directory, by its user, in its control groups, with logs on its volume.
func New(env datastores.Env, name string, argv ...string) *Service {
	return &Service{
		Name: name, Dir: env.Dir, Argv: argv, Credential: Credential(env.UID, env.GID), CgroupDirs: env.CgroupDirs, LogDir: volume.Data(env),
	}
}

// Credential makes the credential of uid and gid, without further groups. It is nil, the guest's own, when uid is
// negative or is the guest's already.
func Credential(uid, gid int) *syscall.Credential {
	if uid < 0 || (uid == os.Geteuid() && gid == os.Getegid()) {
		return nil
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// Start starts the server, unless it runs; one that was told to stop and lingers is ended first, and so is whatever else its user
// runs: see [EndUser]. It returns when the program has been executed, before it answers: see
// [Service.Await]. The context bounds Start alone, not the server's life.
func (s *Service) Start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("cannot start %s: %w", s.Name, err)
	}
	if p, ok := s.find(); ok {
		if !p.Stopping {
			return nil
		}
		if err := s.Stop(ctx); err != nil {
			return err
		}
	} else if err := EndUser(ctx, s.Credential); err != nil {
		return fmt.Errorf("cannot start %s: %w", s.Name, err)
	}
	log, err := s.openLog()
	if err != nil {
		return fmt.Errorf("cannot start %s: %w", s.Name, err)
	}
	defer func() { _ = log.Close() }()

	cmd := exec.Command(s.Argv[0], s.Argv[1:]...)
	cmd.Env = s.Env
	if cmd.Env == nil {
		cmd.Env = plainEnv()
	}
	cmd.Env = append(slices.Clone(cmd.Env), s.ExtraEnv...)
	cmd.Dir = s.WorkDir
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: s.Credential}
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start %s: %w", s.Name, err)
	}
	reaped := make(chan struct{})
	go func() {
		defer close(reaped)
		_ = cmd.Wait()
	}()
	s.mu.Lock()
	s.reaped = reaped
	s.mu.Unlock()
	if err := s.register(cmd.Process.Pid, started); err != nil {
		_ = cmd.Process.Kill()
		<-reaped
		return fmt.Errorf("cannot start %s: %w", s.Name, err)
	}
	return nil
}

// Adopt takes the process pid, which something else has started, for the server: from now on it is known by the pid file. It must be
// the caller's own child, or that of somebody whom the caller trusts.
func (s *Service) Adopt(pid int) error { return s.register(pid, time.Now()) }

// Signal sends a signal to the server. It is no error when that does not run.
func (s *Service) Signal(signal syscall.Signal) error {
	p, ok := s.find()
	if !ok {
		return nil
	}
	return p.signal(signal)
}

// register moves a new server into its control groups, which may take the kernel a while, and writes the pid file: one
// that has a pid file has its limits.
func (s *Service) register(pid int, started time.Time) error {
	for _, dir := range s.CgroupDirs {
		path := filepath.Join(dir, "cgroup.procs")
		if err := os.WriteFile(path, fmt.Appendf(nil, "%d\n", pid), 0o600); err != nil {
			return fmt.Errorf("cannot move it into its control group: %w", err)
		}
	}
	p, err := inspect(pid)
	if err != nil {
		return &Failure{Program: s.Name, Err: errors.New("it ended at once"), Words: s.LastWords()}
	}
	p.Started = started
	return p.save(s.pidFile())
}

// Await returns when check does, retrying it until then, also when it gets no answer within [Service.AnswerTimeout]: a server that comes
// up may lose a session. It fails when the server ends, with a *[Failure] that has the end of its log, or when the context does,
// with check's last error.
func (s *Service) Await(ctx context.Context, check func(context.Context) error) error {
	for {
		// Looked at first: a check that succeeds must have asked this server, not one that was there before.
		_, _, running := s.Running()
		err := s.check(ctx, check)
		if err == nil && running {
			return nil
		}
		if !running {
			return &Failure{Program: s.Name, Err: errors.New("it ended before it answered"), Words: s.LastWords()}
		}
		if !Pause(ctx, pollEvery) {
			return fmt.Errorf("%s does not answer: %w", s.Name, errors.Join(ctx.Err(), err))
		}
	}
}

func (s *Service) check(ctx context.Context, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.AnswerTimeout, defaultAnswerTimeout))
	defer cancel()
	return check(ctx)
}

// Stop ends the server and returns when it is gone: StopSignal, then SIGKILL to its whole process group; and then whatever else its
// user runs, see [EndUser], so that nobody is left who could change the data. A server that does not run is no error. When
// the context is cancelled Stop returns its error and the server may still be ending.
func (s *Service) Stop(ctx context.Context) error {
	if err := s.stop(ctx); err != nil {
		return err
	}
	if err := EndUser(ctx, s.Credential); err != nil {
		return fmt.Errorf("%s has ended, but not all that it has left: %w", s.Name, err)
	}
	return nil
}

func (s *Service) stop(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("cannot stop %s: %w", s.Name, err)
	}
	p, ok := s.find()
	if !ok {
		return s.forget(ctx)
	}
	p.Stopping = true
	if err := p.save(s.pidFile()); err != nil {
		return fmt.Errorf("cannot stop %s: %w", s.Name, err)
	}
	sig := s.StopSignal
	if sig == 0 {
		sig = syscall.SIGTERM
	}
	if err := p.signal(sig); err != nil {
		return fmt.Errorf("cannot stop %s: %w", s.Name, err)
	}
	grace, cancel := context.WithTimeout(ctx, s.grace(ctx))
	defer cancel()
	if s.awaitEnd(grace, p) {
		return s.forget(ctx)
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%s was told to stop and has not ended yet: %w", s.Name, ctx.Err())
	}
	if err := p.killGroup(); err != nil {
		return fmt.Errorf("cannot kill %s: %w", s.Name, err)
	}
	if !s.awaitEnd(ctx, p) {
		return fmt.Errorf("%s has not ended after SIGKILL: %w", s.Name, ctx.Err())
	}
	return s.forget(ctx)
}

func (s *Service) grace(ctx context.Context) time.Duration {
	grace := s.StopTimeout
	if grace == 0 {
		grace = defaultStopTimeout
	}
	if deadline, ok := ctx.Deadline(); ok {
		grace = min(grace, max(time.Until(deadline)-killMargin, 0))
	}
	return grace
}

// awaitEnd reports whether p ended before the context did.
func (s *Service) awaitEnd(ctx context.Context, p process) bool {
	for p.alive() {
		if !Pause(ctx, pollEvery) {
			return false
		}
	}
	return true
}

// Running returns the server's process id and when it was started. The server is known by its pid file, which only the guest can
// write and which holds the kernel's start time, too, so that a process id used again is never taken for it. When the file
// is missing (the guest was killed in the moment after the start) it is known by its user, its program, its command line and
// by leading its session: any other user could start a program with that command line.
func (s *Service) Running() (pid int, since time.Time, ok bool) {
	p, ok := s.find()
	return p.PID, p.Started, ok
}

func (s *Service) find() (process, bool) {
	uid := os.Geteuid()
	if s.Credential != nil {
		uid = int(s.Credential.Uid)
	}
	if p, err := loadProcess(s.pidFile()); err == nil && p.alive() && (s.Credential == nil || isOf(p.PID, uid)) {
		return p, true
	}
	p, ok := findLost(uid, s.Argv)
	if ok {
		// Its guest was killed before register was through: it may run without limits. Started, here only worked out,
		// stays the same from now on. What fails is tried again the next time.
		_ = s.register(p.PID, p.Started)
	}
	return p, ok
}

// forget removes the pid file of a server that has ended and waits for its reaping, so that no zombie is left.
func (s *Service) forget(ctx context.Context) error {
	s.mu.Lock()
	reaped := s.reaped
	s.mu.Unlock()
	if reaped != nil {
		select {
		case <-reaped:
		case <-ctx.Done():
			return fmt.Errorf("%s is not known to have ended: %w", s.Name, ctx.Err())
		}
	}
	if err := os.Remove(s.pidFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (s *Service) pidFile() string { return filepath.Join(s.Dir, s.Name+".pid") }

func (s *Service) openLog() (*os.File, error) {
	if s.LogFile == "" {
		return os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	}
	if err := s.LogDir.Trim(s.LogFile); err != nil {
		return nil, err
	}
	log, err := s.LogDir.Append(s.LogFile)
	if errors.Is(err, syscall.ENOSPC) { // a server without its log is better than none
		return os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	}
	return log, err
}

// LastWords returns the end of the log file, at most 2 KiB in whole lines, for a [Failure] or [datastores.Reason].
func (s *Service) LastWords() string {
	if s.LogFile == "" {
		return "it has no log"
	}
	b, err := s.LogDir.Tail(s.LogFile, maxLastWords)
	if err != nil {
		return err.Error()
	}
	text := string(b)
	if _, whole, cut := strings.Cut(text, "\n"); cut && len(b) == maxLastWords {
		text = whole
	}
	return strings.TrimSpace(text)
}

// Pause waits for d and reports whether the context is still alive.
func Pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
