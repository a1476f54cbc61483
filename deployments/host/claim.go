package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// claimsDir is where the hosts of a machine say which user ids they give.
const claimsDir = "/run/coffer-host"

// claim takes a range of user ids for this process, for as long as it lives or until release is called. Another host of the
// same machine that gives one of them would end this one's databases, and this one its.
func claim(dir string, uids Range) (release func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot claim user ids: %w", err)
	}
	all, err := lock(filepath.Join(dir, "lock"), syscall.LOCK_EX) // one host at a time looks and claims
	if err != nil {
		return nil, fmt.Errorf("cannot claim user ids: %w", err)
	}
	defer func() { _ = all.Close() }()
	others, err := filepath.Glob(filepath.Join(dir, "uids-*"))
	if err != nil {
		return nil, err
	}
	for _, path := range others {
		var other Range
		if _, err := fmt.Sscanf(strings.TrimPrefix(filepath.Base(path), "uids-"), "%d-%d", &other.First, &other.Last); err != nil {
			continue
		}
		if other.Last < uids.First || uids.Last < other.First {
			continue
		}
		f, err := lock(path, syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another host of this machine gives the user ids %s: hosts of one machine need different -uids, -address-pool and -firewall-table, "+
				"and this one has -uids %s", other, uids)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot claim user ids: %w", err)
		}
		_ = os.Remove(path) // its host has ended
		_ = f.Close()
	}
	f, err := lock(filepath.Join(dir, "uids-"+uids.String()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		return nil, fmt.Errorf("cannot claim user ids: %w", err)
	}
	return f.Close, nil
}

// lock opens a file and locks it. Closing it gives the lock back, and so does the end of the process.
func lock(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
