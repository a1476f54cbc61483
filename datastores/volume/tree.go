package volume

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"syscall"
)

// Tree is a directory that is open. Names are relative to it. A link inside is followed as long as it stays inside; the last part
// of a name may be none.
type Tree struct {
	root     *os.Root
	path     string
	uid, gid int
}

// treeOf makes a tree of a directory that is open. It goes through /proc: what a descriptor names cannot change.
func treeOf(f *os.File, d Dir) (*Tree, error) {
	root, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
	if err != nil {
		return nil, err
	}
	return &Tree{root: root, path: d.Path, uid: d.UID, gid: d.GID}, nil
}

// Close must be called.
func (t *Tree) Close() error { return t.root.Close() }

// Path is the path that name had when the tree was opened: for programs that run as the database's user, never for the guest itself.
func (t *Tree) Path(name string) string { return filepath.Join(t.path, name) }

// In opens a directory below this one as a tree of its own.
func (t *Tree) In(name string) (*Tree, error) {
	f, err := t.openDir(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return treeOf(f, Dir{Path: t.Path(name), UID: t.uid, GID: t.gid})
}

// openDir opens a directory, and nothing else: opening a pipe would wait for its other end.
func (t *Tree) openDir(name string) (*os.File, error) {
	return t.root.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
}

// Open opens a regular file for reading.
func (t *Tree) Open(name string) (*os.File, error) { return t.OpenFile(name, os.O_RDONLY) }

// ErrNoFile is the error of whoever opens anything but a regular file.
var ErrNoFile = errors.New("it is not a file")

// exchanges is how often a file may get another of its name while it is opened: servers replace theirs by renaming.
const exchanges = 16

// OpenFile opens a regular file that is there, with flags of package os.
func (t *Tree) OpenFile(name string, flag int) (f *os.File, err error) {
	for range exchanges {
		if f, err = t.openOnce(name, flag); !errors.Is(err, errExchanged) {
			break
		}
	}
	if err == nil && flag&os.O_TRUNC != 0 {
		if err = f.Truncate(0); err != nil {
			_ = f.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", name, err)
	}
	return f, nil
}

// errExchanged is what openOnce returns when the name was another file's before.
var errExchanged = errors.New("it changes all the time")

func (t *Tree) openOnce(name string, flag int) (*os.File, error) {
	seen, err := t.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !seen.Mode().IsRegular() {
		return nil, ErrNoFile
	}
	f, err := t.root.OpenFile(name, flag&^(os.O_CREATE|os.O_TRUNC)|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	now, err := f.Stat()
	if err == nil && !os.SameFile(seen, now) { // a link may have taken the name, so that this is its end
		err = errExchanged
	}
	if err == nil && t.foreign(now) {
		err = errForeign
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// errForeign is the error of whoever opens a file of another user's that has another name, too, which may be anywhere on its filesystem.
var errForeign = errors.New("it is another user's file, linked here")

func (t *Tree) foreign(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && t.uid >= 0 && int(st.Uid) != t.uid && st.Nlink > 1
}

// Create makes a file of mode 0600 and opens it for reading and writing. A file that is there already is an error, [fs.ErrExist].
func (t *Tree) Create(name string) (*os.File, error) { return t.create(name, os.O_RDWR) }

func (t *Tree) create(name string, flag int) (*os.File, error) {
	f, err := t.root.OpenFile(name, flag|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if t.uid >= 0 {
		if err := f.Chown(t.uid, t.gid); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// ReadFile reads a regular file of at most so many bytes; a larger one is an error.
func (t *Tree) ReadFile(name string, most int64) ([]byte, error) {
	f, err := t.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("it has more than %d bytes", most)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, err)
	}
	return b, nil
}

// Tail reads at most the last bytes of a regular file.
func (t *Tree) Tail(name string, most int64) ([]byte, error) {
	f, err := t.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(info.Size(), most))
	n, err := f.ReadAt(b, info.Size()-int64(len(b)))
	if err == io.EOF { // it has become shorter
		err = nil
	}
	return b[:n], err
}

// WriteFile puts a file of mode 0600 there, atomically and durably: readers see the old content or the new one.
func (t *Tree) WriteFile(name string, data []byte) error {
	return t.write(name, data, true)
}

// WriteVolatile is WriteFile that does not wait for the disk: for what a power cut makes useless, or is written anew before it is used
// after one. Until then the file may be empty.
func (t *Tree) WriteVolatile(name string, data []byte) error {
	return t.write(name, data, false)
}

func (t *Tree) write(name string, data []byte, durably bool) error {
	temp := name + "." + rand.Text()[:8] + ".new"
	err := t.writeNew(temp, data, durably)
	if err == nil {
		err = t.root.Rename(temp, name)
	}
	if err == nil && durably {
		err = t.Sync(path.Dir(name))
	}
	if err != nil {
		_ = t.root.Remove(temp)
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	return nil
}

func (t *Tree) writeNew(name string, data []byte, durably bool) error {
	f, err := t.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && durably {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// MakeDir makes a directory of mode 0700. A directory that is there already is given to the tree's user.
func (t *Tree) MakeDir(name string) error {
	err := t.root.Mkdir(name, 0o700)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err == nil && t.uid >= 0 {
		err = t.giveDir(name)
	}
	if err != nil {
		return fmt.Errorf("cannot make the directory %s: %w", name, err)
	}
	return nil
}

// giveDir gives a directory to the tree's user, and nothing that has taken its name: a file could be one from elsewhere.
func (t *Tree) giveDir(name string) error {
	f, err := t.openDir(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Chown(t.uid, t.gid), f.Close())
}

// Rename gives what is called from the name to.
func (t *Tree) Rename(from, to string) error { return t.root.Rename(from, to) }

// Symlink makes a link to target, which is for the tree's user: the guest does not follow it when it leads out of the tree.
func (t *Tree) Symlink(target, name string) error { return t.root.Symlink(target, name) }

// Remove removes what has the name, and everything below. What is not there is no error.
func (t *Tree) Remove(name string) error { return t.root.RemoveAll(name) }

// Lstat describes what has the name, which may be a link.
func (t *Tree) Lstat(name string) (fs.FileInfo, error) { return t.root.Lstat(name) }

// Exists reports whether anything has the name.
func (t *Tree) Exists(name string) (bool, error) {
	_, err := t.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
