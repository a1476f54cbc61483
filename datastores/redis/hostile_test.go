package redis

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// H11: what a guest reads, or looks at, may have become a pipe that never ends, a link to a device, or a file of a terabyte.
func TestWhatIsReadHasAnEnd(t *testing.T) {
	m := New(newEnv(t), DefaultOptions())
	must(t, m.makeOwn())
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

// H4: any user could fill the host's disk with the server's log. It is on the volume.
func TestTheLogIsOnTheVolume(t *testing.T) {
	m := running(t)
	must(t, m.CreateUser(t.Context(), datastores.User{Name: "ann", Password: datastores.NewSecret("pass")}))
	flood := "local s = string.rep('x', 1000) for i = 1, 3000 do redis.log(redis.LOG_WARNING, s) end return 1"
	must(t, client(t, m, "ann", "pass").Eval(t.Context(), flood, nil).Err())
	size := func(dir string) (n int64) {
		must(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				var info fs.FileInfo
				if info, err = d.Info(); err == nil {
					n += info.Size()
				}
			}
			return err
		}))
		return n
	}
	if n := size(m.env.DataDir); n < 3_000_000 {
		t.Errorf("on the volume are %d bytes: where is the log?", n)
	}
	if n := size(m.env.Dir); n > 1<<20 {
		t.Errorf("in the guest's directory are %d bytes", n)
	}
}

// M4: RESTORE is a tenant's, and what it takes is looked through.
func TestRestoreIsSanitised(t *testing.T) {
	if value, err := current(t.Context(), running(t), "sanitize-dump-payload"); err != nil || value != "yes" {
		t.Errorf("sanitize-dump-payload is %q, %v", value, err)
	}
}
