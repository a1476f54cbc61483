package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cofferdb/coffer/datastores/service"
)

// Sandbox is one instance's. Fill it in and use it by pointer; no two calls at once, but for [Sandbox.Running].
type Sandbox struct {
	ID      string // the instance's; the runtime knows the sandbox by it
	Dir     string // absolute; what the runtime needs of it, root's
	Runtime string // the OCI runtime's program
	// State is absolute: where the runtime keeps its own state, which must not outlive a boot, and where the root directories of
	// sandboxes are, which everybody must be able to pass through to.
	State string
	Init  string   // absolute; this program
	Tree  string   // absolute; the system that is seen inside. "": the machine's own
	Guest []string // the guest's command line, inside
	Log   string   // absolute; what init and guest print

	FirstID  int // see [IDs]
	Hostname string
	Network  string // absolute; a network namespace
	Cgroup   string // below each controller's mount point
	Binds    []Bind
}

const (
	etcDir   = "etc" // see EtcPath
	specFile = "config.json"
	pidFile  = "sandbox"
)

// Etc is the directory that is [EtcPath] inside. Prepare makes it.
func (s *Sandbox) Etc() string { return filepath.Join(s.Dir, etcDir) }

// Prepare makes what is in Dir. The names of hosts are known inside at once, also in a sandbox that runs.
func (s *Sandbox) Prepare(hosts map[string][]netip.Addr) error {
	for _, dir := range []string{s.Dir, s.Etc()} {
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
			return err
		}
	}
	return errors.Join(
		s.write("passwd", 0o644, fmt.Sprintf("root:x:0:0::%s:/usr/sbin/nologin\nserver:x:%d:%d::/nonexistent:/usr/sbin/nologin\n", GuestPath, ServerID, ServerID)),
		s.write("group", 0o644, fmt.Sprintf("root:x:0:\nserver:x:%d:\n", ServerID)),
		s.write("hosts", 0o644, s.hosts(hosts)),
	)
}

func (s *Sandbox) hosts(hosts map[string][]netip.Addr) string {
	text := "127.0.0.1 localhost " + s.Hostname + "\n"
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		for _, address := range hosts[name] {
			text += address.String() + " " + name + "\n"
		}
	}
	return text
}

// write writes over a file in Dir that may be mounted: another one in its place would not be seen inside. It does not wait for the
// disk: what a power cut leaves of the file is another text, and the next start writes it anew.
func (s *Sandbox) write(name string, mode os.FileMode, text string) error {
	path := filepath.Join(s.Dir, name)
	if was, err := os.ReadFile(path); err == nil && string(was) == text {
		return nil
	}
	return errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode))
}

// makeRoot makes the places that things are mounted at: root inside may write nowhere in it.
func (s *Sandbox) makeRoot() error {
	if err := os.MkdirAll(s.root(), 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(s.root())
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for _, name := range []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"} {
		target, err := os.Readlink(filepath.Join("/", s.Tree, name))
		if err != nil {
			continue // a system without
		}
		if err := root.Symlink(target, name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for dir, mode := range map[string]os.FileMode{"proc": 0o755, "dev": 0o755, "tmp": 0o777 | os.ModeSticky, "run": 0o755} {
		// The runtime gives what it mounts there the directory's mode.
		if err := errors.Join(root.MkdirAll(dir, 0o755), root.Chmod(dir, mode)); err != nil {
			return err
		}
	}
	for _, b := range s.allBinds() {
		name := strings.TrimPrefix(b.Target, "/")
		if strings.HasPrefix(b.Target, "/etc/") || strings.HasPrefix(b.Target, "/usr/") {
			continue // it is there, in what is mounted before
		}
		info, err := os.Stat(b.Source)
		if err != nil {
			return err
		}
		if info.IsDir() {
			err = root.MkdirAll(name, 0o755)
		} else if err = root.MkdirAll(filepath.Dir(name), 0o755); err == nil {
			err = root.WriteFile(name, nil, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Start starts the sandbox, unless it runs. What an earlier one left is taken away before; one that the runtime has started just as
// it is to be now, while whoever asked was killed, is taken over. Start returns when init runs.
func (s *Sandbox) Start(ctx context.Context) error {
	if s.Running() {
		return nil
	}
	spec, err := s.spec()
	if err != nil {
		return fmt.Errorf("cannot describe the sandbox: %w", err)
	}
	b, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	if was, err := os.ReadFile(filepath.Join(s.Dir, specFile)); err == nil && bytes.Equal(was, b) {
		if pid, ok := s.started(ctx); ok {
			return s.process().Adopt(pid)
		}
	}
	if err := s.Remove(ctx); err != nil {
		return err
	}
	if err := s.makeRoot(); err != nil {
		return err
	}
	if err := s.write(specFile, 0o600, string(b)); err != nil {
		return err
	}
	pid, err := s.launch(ctx)
	if err != nil {
		return errors.Join(fmt.Errorf("cannot start the sandbox: %w", err), s.Remove(context.WithoutCancel(ctx)))
	}
	return s.process().Adopt(pid)
}

// started asks the runtime for the process id of an init that runs.
func (s *Sandbox) started(ctx context.Context) (pid int, ok bool) {
	if _, err := os.Stat(filepath.Join(s.runtimeState(), s.ID)); err != nil {
		return 0, false
	}
	out, err := service.Run(ctx, s.runtime("state", s.ID), service.RunOptions{})
	var state struct {
		Status string `json:"status"`
		PID    int    `json:"pid"`
	}
	if err != nil || json.Unmarshal(out, &state) != nil {
		return 0, false // Remove tells what is wrong
	}
	return state.PID, state.Status == "running"
}

// launch has the runtime start init, and returns its process id. Init gets the log as it is: a pipe would need somebody at the other end.
func (s *Sandbox) launch(ctx context.Context) (pid int, err error) {
	log, err := os.OpenFile(s.Log, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = log.Close() }()
	pids, words := filepath.Join(s.Dir, "runtime.pid"), filepath.Join(s.Dir, "runtime.log")
	if err := os.Remove(words); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	argv := s.runtime("--log", words, "run", "--detach", "--bundle", s.Dir, "--pid-file", pids, s.ID)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(words) // none, when it did not get so far
		return 0, &service.Failure{Program: filepath.Base(s.Runtime), Err: err, Words: string(said)}
	}
	text, err := os.ReadFile(pids)
	if err != nil {
		return 0, err
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("cannot read the runtime's pid file: %w", err)
	}
	return pid, nil
}

// Running reports whether init runs, and with it all else.
func (s *Sandbox) Running() bool {
	_, _, ok := s.process().Running()
	return ok
}

// RestartGuest ends the guest, and init starts it anew. It returns when the former guest has ended: nobody can ask that one for
// anything then. A sandbox that does not run is no error.
func (s *Sandbox) RestartGuest(ctx context.Context) error {
	former := s.Guests()
	if err := s.process().Signal(syscall.SIGHUP); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, guestStopTimeout+5*time.Second)
	defer cancel()
	for {
		now := s.Guests()
		if !slices.ContainsFunc(former, func(pid int) bool { return slices.Contains(now, pid) }) {
			return nil
		}
		if !service.Pause(ctx, 10*time.Millisecond) {
			return errors.New("the guest has not ended in time")
		}
	}
}

// Guests are the children of init that run the guest's program: one, or none.
func (s *Sandbox) Guests() (pids []int) {
	pid, _, ok := s.process().Running()
	if !ok {
		return nil
	}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // of each thread, those that it has forked
	for _, file := range files {
		children, _ := os.ReadFile(file)
		for field := range strings.FieldsSeq(string(children)) {
			argv, err := os.ReadFile(filepath.Join("/proc", field, "cmdline"))
			if program, _, _ := strings.Cut(string(argv), "\x00"); err != nil || program != s.Guest[0] {
				continue
			}
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// Remove ends every process of the sandbox, and takes it from the runtime, with its control groups. Dir stays. It is no
// error when the sandbox is not there.
func (s *Sandbox) Remove(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(s.runtimeState(), s.ID)); !errors.Is(err, fs.ErrNotExist) {
		s.hasten()
		if _, err := service.Run(ctx, s.runtime("delete", "--force", s.ID), service.RunOptions{}); err != nil {
			return fmt.Errorf("cannot end the sandbox: %w", err)
		}
	}
	return s.removeRoot()
}

// hasten takes the limit from the processor time of a sandbox that is to end: with it a crowd of processes ends for minutes.
func (s *Sandbox) hasten() {
	for _, root := range groupRoots() {
		for file, none := range map[string]string{"cpu.cfs_quota_us": "-1", "cpu.max": "max"} {
			_ = os.WriteFile(filepath.Join(root, s.Cgroup, file), []byte(none), 0o644) // of two hierarchies one has it
		}
	}
}

// groupPatience is how long control groups may stay busy after their last process has ended.
const groupPatience = 10 * time.Second

// RemoveGroups removes the control groups of a sandbox that was removed, where they are left: the runtime gives up soon on those that
// are busy still, and knows nothing of them the next time.
func (s *Sandbox) RemoveGroups(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, groupPatience)
	defer cancel()
	var errs []error
	for _, root := range groupRoots() {
		dir := filepath.Join(root, s.Cgroup)
		for {
			err := os.Remove(dir)
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				_ = os.Remove(filepath.Dir(dir)) // fails while other instances are there
				break
			}
			if !service.Pause(ctx, 20*time.Millisecond) {
				errs = append(errs, err)
				break
			}
		}
	}
	return errors.Join(errs...)
}

// groupRoots are where hierarchies of control groups are mounted.
func groupRoots() (roots []string) {
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && (f[2] == "cgroup" || f[2] == "cgroup2") {
			roots = append(roots, f[1])
		}
	}
	return roots
}

// removeRoot removes the root directory, never what is mounted below it: that is so in the sandbox only, and it has ended.
func (s *Sandbox) removeRoot() error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	if strings.Contains(string(mounts), s.root()+"/") {
		return fmt.Errorf("something is mounted below %s: unmount it first", s.root())
	}
	return os.RemoveAll(s.root())
}

func (s *Sandbox) runtimeState() string { return filepath.Join(s.State, "runtime") }

// root is the root directory: empty, but for what is mounted into it.
func (s *Sandbox) root() string { return filepath.Join(s.State, "roots", s.ID) }

func (s *Sandbox) runtime(args ...string) []string {
	return append([]string{s.Runtime, "--root", s.runtimeState()}, args...)
}

// process is init, as this machine sees it.
func (s *Sandbox) process() *service.Service { return &service.Service{Name: pidFile, Dir: s.Dir} }
