package volume

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cofferdb/coffer/datastores"
)

// Dir is a directory, and whose the files are that are made below it. It holds nothing open: a volume can be unmounted while nobody
// uses it.
type Dir struct {
	// Path is absolute. The directory above it must belong to root, or to the guest's own user: nobody else may rename Path.
	Path string
	// UID and GID are the user whose the files will be; -1: the guest's own.
	UID, GID int
}

// Data is the directory of an instance's data, [datastores.Env].DataDir.
func Data(env datastores.Env) Dir { return Dir{Path: env.DataDir, UID: env.UID, GID: env.GID} }

// Own is the guest's own directory, [datastores.Env].Dir.
func Own(env datastores.Env) Dir { return At(env.Dir) }

// At is a directory of whoever calls, by its absolute path.
func At(path string) Dir { return Dir{Path: path, UID: -1, GID: -1} }

// Temp makes an empty directory for the user of env, in another one that is the guest's. Its path is short: a socket fits into it.
// remove takes both away.
func Temp(env datastores.Env) (d Dir, remove func(), err error) {
	outer, err := os.MkdirTemp("", "coffer")
	if err != nil {
		return d, nil, err
	}
	remove = func() { _ = os.RemoveAll(outer) }
	if err = os.Chmod(outer, 0o711); err == nil {
		err = Dir{Path: outer, UID: env.UID, GID: env.GID}.MakeDir("d")
	}
	if err != nil {
		remove()
		return d, nil, err
	}
	return Dir{Path: filepath.Join(outer, "d"), UID: env.UID, GID: env.GID}, remove, nil
}

// Open opens the directory. The tree must be closed soon: as long as it is open the volume cannot be unmounted.
func (d Dir) Open() (*Tree, error) {
	if err := d.checkParent(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(d.Path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return treeOf(f, d)
}

// checkParent refuses a directory that its user could exchange for another.
func (d Dir) checkParent() error {
	if d.UID < 0 || d.UID == os.Geteuid() {
		return nil
	}
	info, err := os.Stat(filepath.Dir(d.Path))
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == d.UID {
		return fmt.Errorf("the directory above %s belongs to the database's user, who could exchange it: give it to root", d.Path)
	}
	return nil
}

// with opens the directory for one call.
func (d Dir) with(do func(t *Tree) error) error {
	t, err := d.Open()
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }()
	return do(t)
}

// ReadFile is [Tree.ReadFile] of this directory.
func (d Dir) ReadFile(name string, most int64) (b []byte, err error) {
	err = d.with(func(t *Tree) error { b, err = t.ReadFile(name, most); return err })
	return b, err
}

// WriteFile is [Tree.WriteFile] of this directory.
func (d Dir) WriteFile(name string, data []byte) error {
	return d.with(func(t *Tree) error { return t.WriteFile(name, data) })
}

// WriteVolatile is [Tree.WriteVolatile] of this directory.
func (d Dir) WriteVolatile(name string, data []byte) error {
	return d.with(func(t *Tree) error { return t.WriteVolatile(name, data) })
}

// MakeDir is [Tree.MakeDir] of this directory.
func (d Dir) MakeDir(name string) error {
	return d.with(func(t *Tree) error { return t.MakeDir(name) })
}

// Remove is [Tree.Remove] of this directory.
func (d Dir) Remove(name string) error {
	return d.with(func(t *Tree) error { return t.Remove(name) })
}

// RemovePrefixed is [Tree.RemovePrefixed] of this directory itself.
func (d Dir) RemovePrefixed(prefix string) error {
	return d.with(func(t *Tree) error { return t.RemovePrefixed(".", prefix) })
}

// Exists is [Tree.Exists] of this directory, which need not be there itself.
func (d Dir) Exists(name string) (there bool, err error) {
	err = d.with(func(t *Tree) error { there, err = t.Exists(name); return err })
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return there, err
}

// Tail is [Tree.Tail] of this directory.
func (d Dir) Tail(name string, most int64) (b []byte, err error) {
	err = d.with(func(t *Tree) error { b, err = t.Tail(name, most); return err })
	return b, err
}

// maxJSON bounds what LoadJSON reads, in bytes.
const maxJSON = 16 << 20

// SaveJSON puts value into a file, as WriteFile does.
func (d Dir) SaveJSON(name string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	return d.WriteFile(name, b)
}

// LoadJSON reads what SaveJSON has put there, up to 16 MiB. A file that is missing leaves value as it is and is no error.
func (d Dir) LoadJSON(name string, value any) error {
	b, err := d.ReadFile(name, maxJSON)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && json.Unmarshal(b, value) != nil {
		err = errors.New("the file is damaged") // the error of encoding/json may quote it
	}
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", name, err)
	}
	return nil
}

// Space tells the size of the filesystem that the directory is in, and what is free there for its user, in bytes.
func (d Dir) Space() (free, total uint64, err error) {
	var f syscall.Statfs_t
	if err := syscall.Statfs(d.Path, &f); err != nil {
		return 0, 0, err
	}
	return f.Bavail * uint64(f.Bsize), f.Blocks * uint64(f.Bsize), nil
}

// Alone reports whether the directory has a filesystem to itself.
func (d Dir) Alone() bool {
	var here, above syscall.Stat_t
	return syscall.Stat(d.Path, &here) == nil && syscall.Stat(filepath.Dir(d.Path), &above) == nil && here.Dev != above.Dev
}
