package service

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile puts a file of mode 0600 that belongs to uid and gid (-1: the guest's own) at name below dir, atomically and
// durably: readers see the old content or the new one. dir must not be in the hands of the database's user, what lies
// below it may be: a link planted there cannot lead the write out of dir.
func WriteFile(dir, name string, data []byte, uid, gid int) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	defer func() { _ = root.Close() }()
	temp := name + "." + rand.Text()[:8] + ".new"
	err = writeNew(root, temp, data, uid, gid)
	if err == nil {
		err = root.Rename(temp, name)
	}
	if err == nil {
		err = Sync(root, filepath.Dir(name))
	}
	if err != nil {
		_ = root.Remove(temp)
		return fmt.Errorf("cannot write %s: %w", filepath.Join(dir, name), err)
	}
	return nil
}

func writeNew(root *os.Root, name string, data []byte, uid, gid int) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && uid >= 0 {
		err = f.Chown(uid, gid)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Sync makes one file, or the names in a directory, durable.
func Sync(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// SyncTree makes every file and directory below name durable, for a server that did not while it made them.
func SyncTree(root *os.Root, name string) error {
	return fs.WalkDir(root.FS(), name, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		return Sync(root, path)
	})
}

// MakeDir makes the directory name below dir, mode 0700, for uid and gid (-1: the guest's own). One that is there is
// given to them. A link planted below dir cannot lead out of it.
func MakeDir(dir, name string, uid, gid int) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("cannot make the directory %s: %w", name, err)
	}
	defer func() { _ = root.Close() }()
	err = root.Mkdir(name, 0o700)
	if errors.Is(err, os.ErrExist) {
		err = nil
	}
	if err == nil && uid >= 0 {
		err = root.Lchown(name, uid, gid)
	}
	if err != nil {
		return fmt.Errorf("cannot make the directory %s: %w", filepath.Join(dir, name), err)
	}
	return nil
}
