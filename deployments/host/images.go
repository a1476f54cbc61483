package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cofferdb/coffer/agentpoll"
)

// images are the trees of files that sandboxes may run in, beside the machine's own system. deployments/images makes them.
type images struct {
	dir string // "": there are none
}

// names lists those that are fit, and says in notes why others are not.
func (i images) names() (names, notes []string) {
	if i.dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(i.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, []string{fmt.Sprintf("no images: %v", err)}
	}
	for _, e := range entries {
		if !managerPattern.MatchString(e.Name()) {
			continue
		}
		if err := fitImage(filepath.Join(i.dir, e.Name())); err != nil {
			notes = append(notes, fmt.Sprintf("image %s is not offered: %v", e.Name(), err))
			continue
		}
		names = append(names, e.Name())
	}
	return names, notes
}

// tree is where an image is; "" is the machine's own system.
func (i images) tree(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	if i.dir == "" || !managerPattern.MatchString(name) {
		return "", agentpoll.Errorf(agentpoll.NotFound, "this host has no image %q: see -image-dir", name)
	}
	tree := filepath.Join(i.dir, name)
	if err := fitImage(tree); err != nil {
		return "", agentpoll.Errorf(agentpoll.NotFound, "this host has no image %q that is fit: %v", name, err)
	}
	return tree, nil
}

// fitImage says why a tree cannot be run in: it must be root's, and have what is mounted over in a sandbox.
func fitImage(tree string) error {
	for _, name := range []string{".", "usr", "etc"} {
		info, err := os.Lstat(filepath.Join(tree, name))
		if err != nil {
			return errors.Unwrap(err) // the path says nothing more
		}
		if st := info.Sys().(*syscall.Stat_t); !info.IsDir() || st.Uid != 0 || info.Mode()&0o022 != 0 {
			return fmt.Errorf("its directory %s must be root's, and not be writable by others", name)
		}
	}
	for _, name := range []string{"etc/passwd", "etc/group", "etc/hosts"} {
		if info, err := os.Stat(filepath.Join(tree, name)); err != nil || !info.Mode().IsRegular() {
			return fmt.Errorf("it has no file %s", name)
		}
	}
	return nil
}
