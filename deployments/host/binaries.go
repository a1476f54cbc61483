package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores/service"
)

const (
	guestSuffix     = "-guest"
	describeTimeout = 5 * time.Second
	describeAgain   = time.Minute // when it failed and the file is still the same
)

// binaries are the guest binaries of a directory and what each says of itself. A binary is asked once, and again when
// the file changes: so a datastore is added by putting a file there.
type binaries struct {
	dir   string
	trust trust

	mu    sync.Mutex
	known map[string]binary // by manager; replaced as a whole
}

type binary struct {
	stamp  stamp
	asked  time.Time
	digest string // SHA-256, in hexadecimal digits
	err    error  // why it is of no use
}

// stamp reports whether a file is still the same.
type stamp struct {
	Inode   uint64      `json:"inode"`
	Size    int64       `json:"size"`
	Changed time.Time   `json:"changed"`
	Mode    fs.FileMode `json:"mode"`
}

// stampOf looks at a regular file, or at the one that a link leads to.
func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	if !info.Mode().IsRegular() {
		return stamp{}, fmt.Errorf("%s is not a file", path)
	}
	s := stamp{Size: info.Size(), Changed: info.ModTime().UTC(), Mode: info.Mode()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.Inode = st.Ino
	}
	return s, nil
}

func (s stamp) equal(other stamp) bool {
	same := s.Changed.Equal(other.Changed)
	s.Changed, other.Changed = time.Time{}, time.Time{}
	return same && s == other
}

func guestBinary(dir, manager string) string { return filepath.Join(dir, manager+guestSuffix) }

// check returns an error of kind NotFound, which says where it was looked for, when a manager has no guest binary.
func (b *binaries) check(manager string) error {
	if _, err := os.Stat(guestBinary(b.dir, manager)); errors.Is(err, fs.ErrNotExist) {
		return agentpoll.Errorf(agentpoll.NotFound, "this host has no guest for manager %q: put the binary %s%s into its guest directory %s",
			manager, manager, guestSuffix, b.dir)
	} else if err != nil {
		return fmt.Errorf("cannot look at the guest binary: %w", err)
	}
	return nil
}

// digests are those of the managers that are offered.
func (b *binaries) digests() map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	digests := make(map[string]string)
	for manager, known := range b.known {
		if known.err == nil {
			digests[manager] = known.digest
		}
	}
	return digests
}

// mayStart returns why a manager's binary, as it was last scanned, is of no use.
func (b *binaries) mayStart(manager string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known[manager].err
}

// stamp is that of a manager's binary as it was last scanned. False when that has not described itself.
func (b *binaries) stamp(manager string) (stamp, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known, ok := b.known[manager]
	return known.stamp, ok && known.err == nil
}

// scan looks at the directory and reports whether anything is different from the last time. Only one goroutine may scan.
func (b *binaries) scan(ctx context.Context) (changed bool, err error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return false, fmt.Errorf("cannot read the guest directory: %w", err)
	}
	b.mu.Lock()
	old := b.known
	b.mu.Unlock()
	found := make(map[string]binary)
	for _, e := range entries {
		manager, ok := strings.CutSuffix(e.Name(), guestSuffix)
		if !ok || manager == "" {
			continue
		}
		path := filepath.Join(b.dir, e.Name())
		now, err := stampOf(path)
		if err != nil {
			continue // gone meanwhile, or a link to nowhere
		}
		was, ok := old[manager]
		if ok && was.stamp.equal(now) && (was.err == nil || time.Since(was.asked) < describeAgain) {
			found[manager] = was
			continue
		}
		next := binary{stamp: now, asked: time.Now()}
		if next.digest, next.err = b.trust.admit(path, manager); next.err == nil {
			next.err = describe(ctx, path, manager)
		}
		found[manager] = next
		changed = true
	}
	changed = changed || len(found) != len(old)
	b.mu.Lock()
	b.known = found
	b.mu.Unlock()
	return changed, nil
}

// describe asks a guest binary for its manifest, which must be that of the manager. What a file in that directory does is not known
// before: when the host is root, the binary is nobody, and has no network.
func describe(ctx context.Context, path, manager string) error {
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	out, err := service.Run(ctx, []string{path, "describe"}, service.RunOptions{Alone: os.Geteuid() == 0})
	if err != nil {
		return err
	}
	var manifest struct {
		Manager string `json:"manager"`
	}
	if err := json.Unmarshal(out, &manifest); err != nil {
		return fmt.Errorf("describe printed no manifest: %w", err)
	}
	if manifest.Manager != manager {
		return fmt.Errorf("describe says manager %q: a guest binary must be named <manager>%s", manifest.Manager, guestSuffix)
	}
	return nil
}

// managers are those whose binaries described themselves, in order of names.
func (b *binaries) managers() []string {
	return append([]string{}, sortedKeys(b.digests())...) // no null in an announcement
}

// refused are those whose binaries are there and of no use, in order of names, and a note for each.
func (b *binaries) refused() (managers, notes []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, manager := range sortedKeys(b.known) {
		if err := b.known[manager].err; err != nil {
			managers = append(managers, manager)
			notes = append(notes, fmt.Sprintf("guest binary %s%s is not offered: %v", manager, guestSuffix, err))
		}
	}
	return managers, notes
}
