package launch

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// child is a program that we have started and have to end. What it logs goes to a file.
type child struct {
	name string
	log  string
	cmd  *exec.Cmd
	out  *bufio.Reader // what it prints
	done chan struct{} // closed when it has ended
	err  error         // of its end; valid after done
}

// stopTimeout is how long a child may take to end before it is killed.
const stopTimeout = 30 * time.Second

// spawn starts a program. It gets no variables of ours but a few, and a process group of its own: what a terminal's
// Ctrl-C does to it is for us to decide.
func spawn(program, logFile string, env []string, args ...string) (*child, error) {
	c := &child{name: filepath.Base(program), log: logFile, done: make(chan struct{})}
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer write.Close()
	c.out = bufio.NewReader(read)
	c.cmd = exec.Command(program, args...)
	c.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LC_ALL=C.UTF-8"}, env...)
	c.cmd.Stdout, c.cmd.Stderr = write, log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start %s: %w", c.name, err), read.Close())
	}
	go func() {
		c.err = c.cmd.Wait()
		_ = read.Close()
		close(c.done)
	}()
	return c, nil
}

// lines calls f with each line that the child prints until f returns true. It fails when the child ends before, or ctx.
func (c *child) lines(ctx context.Context, f func(line string) (enough bool)) error {
	read := make(chan error, 1)
	go func() {
		for {
			line, err := c.out.ReadString('\n')
			if err != nil || f(strings.TrimSpace(line)) {
				read <- err
				return
			}
		}
	}()
	select {
	case err := <-read:
		if err == nil {
			go func() { _, _ = io.Copy(io.Discard, c.out) }() // ends with the child
			return nil
		}
		<-c.done
		return c.ended()
	case <-ctx.Done():
		return fmt.Errorf("%s does not say that it serves: %w; see %s", c.name, ctx.Err(), c.log)
	}
}

// ended says how the child ended, with its last words.
func (c *child) ended() error {
	why := "of its own accord"
	if c.err != nil {
		why = c.err.Error()
	}
	b, _ := os.ReadFile(c.log)
	last := b[bytes.LastIndexByte(bytes.TrimSpace(b), '\n')+1:]
	return fmt.Errorf("%s ended, %s: %s (all of it in %s)", c.name, why, bytes.TrimSpace(last), c.log)
}

// stop asks the child to end, waits, and kills it when it takes too long.
func (c *child) stop() error {
	if c == nil {
		return nil
	}
	select {
	case <-c.done:
		return nil
	default:
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
		return nil
	case <-time.After(stopTimeout):
		_ = c.cmd.Process.Kill()
		<-c.done
		return fmt.Errorf("%s did not end within %s and was killed; see %s", c.name, stopTimeout, c.log)
	}
}
