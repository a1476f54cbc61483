package blobstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"syscall"
	"time"
)

// Dir is a [Store] in a directory: a file for each blob, under its name. Several gateways may share one over a network
// file system. Whatever a name says, nothing outside of the directory is touched, links included.
type Dir struct {
	root *os.Root

	mu      sync.Mutex
	durable map[string]bool // directories that a power cut leaves where they are: the ones above them were synced
}

// mostDurable is how many directories are remembered as durable. A forgotten one is synced again.
const mostDurable = 256

// incoming is where blobs are until they are whole. No blob's name begins with a dot.
const incoming = ".incoming"

// leftAfter is when a file in incoming belongs to nobody any more: its gateway was killed.
const leftAfter = 24 * time.Hour

// OpenDir opens a directory, which is made when it is not there. Nobody else can read what is in it.
func OpenDir(dir string) (*Dir, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the directory for backups: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the directory for backups: %w", err)
	}
	d := &Dir{root: root, durable: map[string]bool{}}
	if err := d.tidy(time.Now().Add(-leftAfter)); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot use the directory for backups: %w", err), root.Close())
	}
	return d, nil
}

// tidy removes what was left in incoming before that time.
func (d *Dir) tidy(before time.Time) error {
	if err := d.root.MkdirAll(incoming, 0o700); err != nil {
		return err
	}
	entries, err := fs.ReadDir(d.root.FS(), incoming)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.ModTime().Before(before) {
			_ = d.root.Remove(path.Join(incoming, e.Name())) // another gateway may have been faster
		}
	}
	return nil
}

// Close closes the directory.
func (d *Dir) Close() error { return d.root.Close() }

// Put is [Store]'s.
func (d *Dir) Put(ctx context.Context, name string, size int64, sha256 string, r io.Reader) error {
	if err := CheckName(name); err != nil {
		return err
	}
	part := path.Join(incoming, rand.Text())
	err := d.write(ctx, part, newAnnounced(r, size, sha256))
	if err == nil {
		err = d.publish(part, name)
	}
	if err != nil {
		_ = d.root.Remove(part)
		return fmt.Errorf("cannot store %s: %w", name, errors.Join(ofDir(err), err))
	}
	return nil
}

func (d *Dir) write(ctx context.Context, part string, from *announced) error {
	f, err := d.root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if from.size == 0 {
		_, err = from.Read(nil)
	} else {
		_, err = io.Copy(f, from)
	}
	err = errors.Join(from.failure(), ignoreEOF(err), context.Cause(ctx))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// publish gives a whole blob its name, so that it survives a power cut.
func (d *Dir) publish(part, name string) error {
	parent := path.Dir(name)
	if err := d.makeDir(parent); err != nil {
		return err
	}
	if err := d.root.Rename(part, name); err != nil {
		return err
	}
	if err := d.sync(parent); err != nil || d.isDurable(parent) {
		return err
	}
	for above := parent; above != "."; { // each may be new
		above = path.Dir(above)
		if err := d.sync(above); err != nil {
			return err
		}
	}
	d.setDurable(parent, true)
	return nil
}

// makeDir makes a directory that is not there, which is not durable then: another gateway may have removed it.
func (d *Dir) makeDir(dir string) error {
	if dir == "." {
		return nil
	}
	err := d.root.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	d.setDurable(dir, false)
	if errors.Is(err, fs.ErrNotExist) {
		err = d.root.MkdirAll(dir, 0o700)
	}
	return err
}

func (d *Dir) isDurable(dir string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.durable[dir]
}

func (d *Dir) setDurable(dir string, durable bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !durable:
		delete(d.durable, dir)
		return
	case len(d.durable) >= mostDurable:
		clear(d.durable)
	}
	d.durable[dir] = true
}

func (d *Dir) sync(dir string) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Get is [Store]'s.
func (d *Dir) Get(_ context.Context, name string) (io.ReadCloser, int64, error) {
	if err := CheckName(name); err != nil {
		return nil, 0, err
	}
	f, err := d.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("%s: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("cannot read %s: %w", name, errors.Join(ofDir(err), err))
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, 0, errors.Join(err, f.Close())
	case !info.Mode().IsRegular():
		return nil, 0, errors.Join(fmt.Errorf("%s: %w", name, ErrNotFound), f.Close())
	}
	return f, info.Size(), nil
}

// Delete is [Store]'s.
func (d *Dir) Delete(_ context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	info, err := d.root.Lstat(name)
	if err == nil && info.Mode().IsRegular() {
		err = d.root.Remove(name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot delete %s: %w", name, err)
	}
	return nil
}

// DeleteAll is [Store]'s.
func (d *Dir) DeleteAll(_ context.Context, prefix string) error {
	if err := CheckName(prefix); err != nil {
		return err
	}
	info, err := d.root.Lstat(prefix)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil
	}
	if err == nil {
		err = d.root.RemoveAll(prefix)
	}
	if err != nil {
		return fmt.Errorf("cannot delete what is below %s: %w", prefix, err)
	}
	return nil
}

// ofDir is what an error of the file system means for the store; nil: nothing in particular.
func ofDir(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return ErrFull
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return ErrDenied
	}
	return nil
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}
