package volume

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// halfMade begins what follows the name of a directory in the making, or of one that goes.
const halfMade = ".making-"

// aside is a name that nobody has: a program that an earlier try has started may still write into the directory of that.
func aside(name string) string { return name + halfMade + rand.Text()[:8] }

// Make makes the directory name wholly or not at all. fill gets it empty, and fills it; when it has succeeded, and everything is on the
// disk, the directory takes its name. A program finds it meanwhile by the tree's Path("."). A directory that has its name already is
// whole, so fill is not called. What an earlier try has left half made is removed first.
func (d Dir) Make(name string, fill func(t *Tree) error) error {
	return d.with(func(t *Tree) error {
		if there, err := t.Exists(name); err != nil || there {
			return err
		}
		if err := t.RemovePrefixed(path.Dir(name), path.Base(name)+halfMade); err != nil {
			return fmt.Errorf("cannot remove what is left of %s: %w", name, err)
		}
		making := aside(name)
		if err := t.Fill(making, fill); err != nil {
			_ = t.Remove(making) // or the next try does: it may be most of the volume
			return err
		}
		err := t.Rename(making, name)
		if err == nil {
			err = t.Sync(path.Dir(name))
		}
		if err != nil {
			return fmt.Errorf("cannot make %s: %w", name, err)
		}
		return nil
	})
}

// Discard takes a directory away, if it is there. Its name goes first, so that what is left of it is never taken for whole; Make
// removes that.
func (d Dir) Discard(name string) error {
	return d.with(func(t *Tree) error {
		gone := aside(name)
		if err := t.Rename(name, gone); errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		return t.Remove(gone)
	})
}

// Fill makes the directory name and has fill fill it; then everything is on the disk. What fill gets stays the directory that was
// made, whatever the tree's user puts in its place.
func (t *Tree) Fill(name string, fill func(t *Tree) error) error {
	if err := t.MakeDir(name); err != nil {
		return err
	}
	made, err := t.In(name)
	if err != nil {
		return fmt.Errorf("cannot make %s: %w", name, err)
	}
	defer func() { _ = made.Close() }()
	if err := fill(made); err != nil {
		return err
	}
	if err := made.SyncAll("."); err != nil {
		return fmt.Errorf("cannot make %s: %w", name, err)
	}
	return nil
}
