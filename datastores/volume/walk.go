package volume

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
)

// mostNames bounds how many names of one directory are looked at, so that none of them fills the guest's memory.
const mostNames = 1 << 20

// List returns what is directly below a directory, in the order of the names. More than a million are an error.
func (t *Tree) List(name string) ([]fs.DirEntry, error) {
	f, err := t.openDir(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	entries, err := f.ReadDir(mostNames + 1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err == nil && len(entries) > mostNames {
		err = fmt.Errorf("%s holds more than %d names", name, mostNames)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// Walk calls visit for name and for everything below it, parents first, as [fs.WalkDir] does: visit is told of a directory that
// cannot be read, and may return [fs.SkipDir]. No link is followed.
func (t *Tree) Walk(name string, visit fs.WalkDirFunc) error {
	info, err := t.root.Lstat(name)
	if err != nil {
		return ended(visit(name, nil, err))
	}
	return ended(t.walk(name, fs.FileInfoToDirEntry(info), visit))
}

func (t *Tree) walk(name string, d fs.DirEntry, visit fs.WalkDirFunc) error {
	err := visit(name, d, nil)
	if err != nil || !d.IsDir() {
		return skipped(err, d)
	}
	entries, err := t.List(name)
	if err != nil {
		if err = visit(name, d, err); err != nil {
			return skipped(err, d)
		}
	}
	for _, e := range entries {
		err := t.walk(path.Join(name, e.Name()), e, visit)
		if errors.Is(err, fs.SkipDir) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// skipped makes of SkipDir, said of a directory, nothing; of a file it goes up to its directory.
func skipped(err error, d fs.DirEntry) error {
	if errors.Is(err, fs.SkipDir) && d.IsDir() {
		return nil
	}
	return err
}

func ended(err error) error {
	if errors.Is(err, fs.SkipDir) || errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

// Sync makes one file, or the names in a directory, durable.
func (t *Tree) Sync(name string) error {
	f, err := t.openDir(name)
	if err != nil {
		f, err = t.Open(name)
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncing is how many files are synced at the same time. A disk makes durable together what it is asked together; one after the
// other each file of a new PostgreSQL, of which there are a thousand, would wait for the disk by itself.
const syncing = 8

// SyncAll makes every file and directory from name on durable, for a server that did not while it made them.
func (t *Tree) SyncAll(name string) error {
	names, errs := make(chan string), make([]error, syncing)
	var syncs sync.WaitGroup
	for i := range errs {
		syncs.Go(func() {
			for name := range names {
				if errs[i] == nil {
					errs[i] = t.Sync(name)
				}
			}
		})
	}
	err := t.Walk(name, func(name string, d fs.DirEntry, err error) error {
		if err == nil && (d.IsDir() || d.Type().IsRegular()) {
			names <- name
		}
		return err
	})
	close(names)
	syncs.Wait()
	return errors.Join(append(errs, err)...)
}

// RemovePrefixed removes what is directly below a directory and has a name that begins so, and everything below it.
func (t *Tree) RemovePrefixed(dir, prefix string) error {
	entries, err := t.List(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			err = errors.Join(err, t.Remove(path.Join(dir, e.Name())))
		}
	}
	return err
}
