package service

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	maxOutput    = 1 << 20
	maxLastWords = 2 << 10
)

// RunOptions say how a program is run. The zero value runs it as the guest's own user, without input.
type RunOptions struct {
	// Stdin is the program's input, the place for a secret, or a backup; nil is empty. If reading it fails, the program sees
	// EOF and Run returns the read error.
	Stdin io.Reader
	// Stdout takes the program's standard output as it comes, such as a backup's; nil: [Run] returns the first MiB of it.
	// When it fails the program is ended, and its error is Run's.
	Stdout io.Writer
	// Stderr takes what the program says beside its output, of which a [Failure] has the end anyway; nil: nobody does.
	Stderr io.Writer
	// Env is the whole environment; nil is a plain PATH and C.UTF-8.
	Env []string
	// Dir is the working directory; "" is "/".
	Dir string
	// Credential is the user to run as; nil is the guest's own. See [Credential].
	Credential *syscall.Credential
	// Named shows the program a user who has a name, as some programs insist on. On the disk it is Credential's all the same.
	Named bool
	// Alone runs the program as nobody, whatever Credential says: without capabilities, or a way to any, and without a network. All that it
	// has started ends with it. The program is handed over: nobody needs no right to its file. Only root can.
	Alone bool
	// Root, with Alone, is the directory that is "/" to the program. Then the program is not handed over but run where it lies below Root.
	Root string
}

// Run runs a program to its end and returns its standard output, of which it keeps the first MiB, unless opts.Stdout takes
// it. The error names the program, never its arguments; a program that ended badly is a *[Failure]. When the context ends the
// program and its children are killed.
func Run(ctx context.Context, argv []string, opts RunOptions) ([]byte, error) {
	program := filepath.Base(argv[0])
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	if opts.Alone && opts.Root == "" {
		file, err := copied(argv[0])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", program, err)
		}
		defer func() { _ = file.Close() }()
		cmd = exec.CommandContext(ctx, "/proc/self/fd/3")
		cmd.Args, cmd.ExtraFiles = argv, []*os.File{file} // the first of them is 3
	}
	cmd.Env, cmd.Dir = opts.Env, opts.Dir
	if cmd.Env == nil {
		cmd.Env = plainEnv()
	}
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	switch {
	case opts.Alone:
		cmd.SysProcAttr = alone(opts.Root)
	case opts.Named:
		cmd.SysProcAttr = named(opts.Credential)
	default:
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: opts.Credential}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second // for a grandchild that left the group and holds the pipe
	stdout, stderr, said := &head{max: maxOutput}, &tail{max: maxLastWords}, &tail{max: maxLastWords}
	cmd.Stdout, cmd.Stderr = io.MultiWriter(stdout, said), stderr
	if opts.Stderr != nil {
		cmd.Stderr = io.MultiWriter(stderr, opts.Stderr)
	}
	streams := &faulty{r: opts.Stdin, w: opts.Stdout}
	if opts.Stdin != nil {
		cmd.Stdin = streams
	}
	if opts.Stdout != nil {
		cmd.Stdout = streams
	}
	err := cmd.Run()
	if ctxErr := ctx.Err(); err != nil && ctxErr != nil {
		err = fmt.Errorf("%s: %w", program, ctxErr)
	} else if failure := streams.failure(); failure != nil {
		err = fmt.Errorf("%s: %w", program, failure) // the program itself knows of an end or a broken pipe only
	} else if err != nil {
		err = &Failure{Program: program, Err: err, Words: cmp.Or(stderr.String(), said.String())}
	}
	return stdout.buf.Bytes(), err
}

// Failure is a program that ended badly. Its text says which one and how it ended. Words, at most 2 KiB in whole lines, are the last that
// it wrote to its standard error, or to its standard output when it wrote nothing there; they may hold rows, statements and
// paths, so only [datastores.Told] passes them on, cleaned.
type Failure struct {
	Program string
	Err     error
	Words   string
}

func (f *Failure) Error() string { return f.Program + ": " + f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// LastWords implements [datastores.LastWords].
func (f *Failure) LastWords() string { return f.Words }

func plainEnv() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}
}

// faulty remembers the first error of what a program reads from or writes to.
type faulty struct {
	r io.Reader
	w io.Writer

	mu  sync.Mutex
	err error
}

func (f *faulty) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	return n, f.note(err)
}

func (f *faulty) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	return n, f.note(err)
}

func (f *faulty) note(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return err
}

func (f *faulty) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// head keeps the first max bytes.
type head struct {
	buf bytes.Buffer
	max int
}

func (h *head) Write(p []byte) (int, error) {
	h.buf.Write(p[:min(len(p), h.max-h.buf.Len())])
	return len(p), nil
}

// tail keeps the last max bytes.
type tail struct {
	buf []byte
	max int
	cut bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if n := len(t.buf) - t.max; n > 0 {
		t.buf, t.cut = append(t.buf[:0], t.buf[n:]...), true
	}
	return len(p), nil
}

// String returns what is kept, in whole lines.
func (t *tail) String() string {
	text := string(t.buf)
	if t.cut {
		_, text, _ = strings.Cut(text, "\n")
	}
	return strings.TrimSpace(text)
}
