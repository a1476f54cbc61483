package launch

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// HostDir is where the instances are: in dir, unless they are elsewhere already, or the databases' users, who are nobody special, could
// not get there, as below root's home, or others than root may write there. Who is not root runs everything as himself.
func (s *Stage) HostDir() string {
	inside, elsewhere := filepath.Join(s.Dir, "host"), fmt.Sprintf("/var/lib/coffer-up-%.4x", sha256.Sum256([]byte(s.Dir)))
	if os.Geteuid() != 0 {
		return inside
	}
	if _, err := os.Stat(elsewhere); err == nil {
		return elsewhere
	}
	if _, err := os.Stat(inside); err == nil {
		return inside
	}
	for d := s.Dir; ; d = filepath.Dir(d) {
		if info, err := os.Stat(d); err != nil || info.Mode()&0o001 == 0 || !rootsAlone(info) {
			return elsewhere
		}
		if d == filepath.Dir(d) {
			return inside
		}
	}
}

// rootsAlone reports whether nobody but root may write a file, or change what root has in a directory.
func rootsAlone(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Uid == 0 && (info.Mode()&0o022 == 0 || info.IsDir() && info.Mode()&fs.ModeSticky != 0)
}

// guestDir is where the host finds the guests' programs: beside this program. A host that is root takes none that others could have
// put there, as in a checkout that is a user's; whoever runs this as root there means those, so they are copied to where they are
// root's.
func (s *Stage) guestDir() (string, error) {
	built := filepath.Join(s.Bin, "guests")
	if os.Geteuid() != 0 || !others(built) {
		return built, nil
	}
	copied := filepath.Join(s.HostDir(), "guests-of-checkout")
	if err := os.RemoveAll(copied); err != nil {
		return "", err
	}
	if err := os.MkdirAll(s.HostDir(), 0o711); err != nil {
		return "", err
	}
	err := os.CopyFS(copied, os.DirFS(built))
	if err == nil {
		err = filepath.WalkDir(copied, func(path string, _ fs.DirEntry, err error) error { return cmp.Or(err, os.Chmod(path, 0o755)) })
	}
	if err != nil {
		return "", fmt.Errorf("cannot copy the guests' programs to where they are root's: %w", err)
	}
	s.Say("%s may be written by others than root: its programs run from %s, as they are now", built, copied)
	return copied, nil
}

// others reports whether others than root may write a directory, what is in it, or one above it.
func others(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return true
	}
	for _, e := range entries {
		if info, err := os.Stat(filepath.Join(dir, e.Name())); err != nil || !rootsAlone(info) {
			return true
		}
	}
	for d := dir; ; d = filepath.Dir(d) {
		if info, err := os.Stat(d); err != nil || !rootsAlone(info) {
			return true
		}
		if d == filepath.Dir(d) {
			return false
		}
	}
}
