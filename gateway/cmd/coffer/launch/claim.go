package launch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// claimFile is locked by the process whose stage a directory is, and names it.
const claimFile = "lock"

// claim makes the stage's directory this process's until release. It says who has it otherwise.
func (s *Stage) claim() error {
	f, err := os.OpenFile(filepath.Join(s.Dir, claimFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := os.ReadFile(f.Name())
		return errors.Join(fmt.Errorf("%s is in use by process %s, a `coffer up` or `coffer down`; end that first, as with Ctrl-C in its terminal",
			s.Dir, strings.TrimSpace(string(holder))), f.Close())
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil {
		return errors.Join(fmt.Errorf("cannot lock %s: %w", f.Name(), err), f.Close())
	}
	s.claimed = f
	return nil
}

// release lets another process have the directory.
func (s *Stage) release() error {
	if s.claimed == nil {
		return nil
	}
	f := s.claimed
	s.claimed = nil
	return f.Close()
}
