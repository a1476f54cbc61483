package postgresql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cofferdb/coffer/datastores/service"
)

// command is one run of one of the server's programs, always as the server's user.
type command struct {
	argv   []string
	env    []string // beside a plain one; the place for a secret: only that user and root can read it
	stdin  io.Reader
	stdout io.Writer // nil: returned, the end of it
	dir    string
}

const keptOutput = 8 << 10

// run runs a program to its end. The error names the program, never its arguments; one that ended badly is a *[service.Failure]. When the
// context ends the program and its children are killed.
func (m *Manager) run(ctx context.Context, c command) (string, error) {
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Env = append([]string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "HOME=/nonexistent"}, c.env...)
	cmd.Dir = "/"
	if c.dir != "" {
		cmd.Dir = c.dir
	}
	said, failed := &tail{max: keptOutput}, &tail{max: 2 << 10}
	input, output := &remembering{r: c.stdin}, &remembering{w: c.stdout}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = input, output, failed
	if c.stdin == nil {
		cmd.Stdin = nil
	}
	if c.stdout == nil {
		cmd.Stdout = said
	}
	cmd.SysProcAttr = m.serverUser()
	cmd.SysProcAttr.Setpgid = true
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second // for a grandchild that left the group and holds the pipe
	err := cmd.Run()
	if ctxErr := ctx.Err(); err != nil && ctxErr != nil {
		err = ctxErr
	}
	// The program's own error would be that its input ends, or that nobody reads what it writes.
	if err := errors.Join(input.err, output.err); err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Base(c.argv[0]), err)
	}
	if err != nil {
		words := strings.TrimSpace(string(failed.buf))
		if words == "" {
			words = strings.TrimSpace(string(said.buf))
		}
		return string(said.buf), &service.Failure{Program: filepath.Base(c.argv[0]), Err: err, Words: words}
	}
	return string(said.buf), nil
}

// daemonUID has a name on every Debian.
const daemonUID = 1

// serverUser makes a program run as the server's user. Some of PostgreSQL's (initdb, pg_upgrade) insist on a user with a
// name, which that of an instance on a host has none: such a one is shown to the program as another, in a user namespace
// that holds nobody else. On the disk it is the server's user all the same.
func (m *Manager) serverUser() *syscall.SysProcAttr {
	uid, gid := m.env.UID, m.env.GID
	if uid < 0 {
		uid, gid = os.Geteuid(), os.Getegid()
	}
	if _, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return &syscall.SysProcAttr{Credential: service.Credential(uid, gid)}
	}
	root := os.Geteuid() == 0
	return &syscall.SysProcAttr{
		Cloneflags:                 syscall.CLONE_NEWUSER,
		UidMappings:                []syscall.SysProcIDMap{{ContainerID: daemonUID, HostID: uid, Size: 1}},
		GidMappings:                []syscall.SysProcIDMap{{ContainerID: daemonUID, HostID: gid, Size: 1}},
		GidMappingsEnableSetgroups: root,
		Credential:                 &syscall.Credential{Uid: daemonUID, Gid: daemonUID, NoSetGroups: !root},
	}
}

// remembering keeps the error of its reader or writer.
type remembering struct {
	r   io.Reader
	w   io.Writer
	err error
}

func (r *remembering) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

func (r *remembering) Write(p []byte) (n int, err error) {
	n, r.err = r.w.Write(p)
	return n, r.err
}

// tail keeps the last max bytes.
type tail struct {
	buf []byte
	max int
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if n := len(t.buf) - t.max; n > 0 {
		t.buf = bytes.Clone(t.buf[n:])
	}
	return len(p), nil
}
