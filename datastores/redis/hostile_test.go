package redis

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// H11: what a guest reads, or looks at, may have become a pipe that never ends, a link to a device, or a file of a terabyte.
func TestWhatIsReadHasAnEnd(t *testing.T) {
	m := New(newEnv(t), DefaultOptions())
	must(t, m.settle())
	must(t, m.data.MakeDir(aofFolder))
	aof := aofName + ".1.base.rdb"
	reads := map[string]func() error{
		usersFile:                     func() error { _, err := m.readUsers(); return err },
		manifestFile:                  func() error { _, err := m.openLog(); return err },
		filepath.Join(aofFolder, aof): func() error { _, err := m.dataFormat(); return err },
	}
	for file, read := range reads {
		for name, make := range map[string]func(path string) error{
			"pipe":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
			"zero":   func(path string) error { return os.Symlink("/dev/zero", path) },
			"sparse": func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40)) },
		} {
			must(t, m.data.WriteFile(manifestFile, manifestOf([]string{aof})))
			must(t, m.data.Remove(file))
			must(t, make(m.dataPath(file)))
			if err := read(); err == nil {
				t.Errorf("%s in place of %s is read", name, file)
			}
			must(t, m.data.Remove(file))
		}
	}
}
