package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// store keeps the guest binaries that sandboxes run, each in a directory named by its digest: root's, and never changed. So a
// guest goes on with its binary whatever is put into the guest directory, and sandboxes share it.
type store struct {
	dir   string
	trust trust

	mu    sync.Mutex
	known map[string]stored // by the binary's path
}

type stored struct {
	stamp stamp
	name  string
}

// keep copies a binary into the store, unless it is there, and returns its name in it: <digest>/<file's name>.
func (s *store) keep(path string) (name string, err error) {
	now, err := stampOf(path)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if was, ok := s.known[path]; ok && was.stamp.equal(now) {
		return was.name, nil
	}
	name, err = s.copy(path)
	if was, ok := s.known[path]; ok && err != nil {
		return was.name, nil // the former one goes on; the scan of the guest directory says why
	}
	if err != nil {
		return "", fmt.Errorf("cannot keep the guest binary: %w", err)
	}
	if s.known == nil {
		s.known = make(map[string]stored)
	}
	s.known[path] = stored{now, name}
	return name, nil
}

// copy copies while it sums up, so what is kept is what has the digest.
func (s *store) copy(path string) (name string, err error) {
	from, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = from.Close() }()
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return "", err
	}
	half, err := os.MkdirTemp(s.dir, "half-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(half) }() // renamed by then, if all went well
	to, err := os.OpenFile(filepath.Join(half, filepath.Base(path)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(to, sum), from)
	if err := errors.Join(err, to.Chmod(0o555), to.Close(), os.Chmod(half, 0o755)); err != nil {
		return "", err
	}
	digest := hex.EncodeToString(sum.Sum(nil))
	if err := errors.Join(s.trust.owned(path), s.trust.signed(path, strings.TrimSuffix(filepath.Base(path), guestSuffix), digest)); err != nil {
		return "", err
	}
	err = os.Rename(half, filepath.Join(s.dir, digest))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return filepath.Join(digest, filepath.Base(path)), nil
}
