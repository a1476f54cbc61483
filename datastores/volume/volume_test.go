package volume

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

func TestWriteFile(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	for _, text := range []string{"old", "new"} {
		if err := own(dir).WriteFile("conf", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "conf")
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if b, _ := os.ReadFile(path); string(b) != "new" {
		t.Errorf("read %q", b)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	if err := own(dir).WriteFile("data/conf", []byte("x")); err == nil {
		t.Error("a link led the write out of the directory")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.new")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// foreign is a directory of somebody else's, with a secret in it.
func foreign(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "shadow"), "SECRET")
	return dir
}

// exchange is what a tenant does: something else takes the name.
func exchange(t *testing.T, path, target string) {
	t.Helper()
	if err := errors.Join(os.Rename(path, path+"-mine"), os.Symlink(target, path)); err != nil {
		t.Fatal(err)
	}
}

// C2: root unpacked an archive, whose names the tenant chose, wherever a link led that took the name of the directory.
func TestADirectoryInTheMakingCannotBeExchanged(t *testing.T) {
	dir, victim := t.TempDir(), foreign(t)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "shadow", Size: 1})
	if err == nil {
		_, err = w.Write([]byte("x"))
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	err = open(t, dir).Fill("unfinished", func(made *Tree) error {
		exchange(t, filepath.Join(dir, "unfinished"), victim)
		return made.ReadTar(t.Context(), &archive)
	})
	if err != nil {
		t.Error(err)
	}
	if !holds(filepath.Join(victim, "shadow"), "SECRET") || !holds(filepath.Join(dir, "unfinished-mine/shadow"), "x") {
		t.Error("the archive was not unpacked into the directory that was made")
	}
}

// C3: a link in place of a directory led a backup to anybody's files.
func TestALinkLeadsNowhere(t *testing.T) {
	dir, victim := t.TempDir(), foreign(t)
	for name, target := range map[string]string{"absolute": victim, "relative": "../" + filepath.Base(victim)} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		tree := open(t, dir)
		if inside, err := tree.In(name); err == nil {
			t.Errorf("%s: it leads to %v", name, inside.root.Name())
		}
		if b, err := tree.ReadFile(name+"/shadow", 100); err == nil {
			t.Errorf("%s: read %q", name, b)
		}
		if entries, err := tree.List(name); err == nil {
			t.Errorf("%s: listed %v", name, entries)
		}
		if err := tree.Remove(name + "/shadow"); err == nil || !holds(filepath.Join(victim, "shadow"), "SECRET") {
			t.Errorf("%s: removed, %v", name, err)
		}
		if err := tree.MakeDir(name + "/made"); err == nil {
			t.Errorf("%s: made a directory", name)
		}
	}
	if err := os.Symlink(filepath.Join(victim, "shadow"), filepath.Join(dir, "file")); err != nil {
		t.Fatal(err)
	}
	if b, err := own(dir).ReadFile("file", 100); err == nil {
		t.Errorf("read %q through a link", b)
	}
}

// H11: a pipe kept the guest waiting for good, and a file without end, or one that takes no space, filled its memory.
func TestOnlyFilesAreReadAndNotForGood(t *testing.T) {
	dir := t.TempDir()
	tree := open(t, dir)
	for name, make := range map[string]func(path string) error{
		"pipe":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"zero":   func(path string) error { return os.Symlink("/dev/zero", path) },
		"socket": func(path string) error { return syscall.Mknod(path, syscall.S_IFSOCK|0o600, 0) },
		"sparse": func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40)) },
		"dir":    func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		if err := make(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if b, err := tree.ReadFile(name, 1<<10); err == nil {
			t.Errorf("%s: read %d bytes", name, len(b))
		}
		if name == "dir" {
			continue
		}
		if _, err := tree.In(name); err == nil {
			t.Errorf("%s is taken for a directory", name)
		}
		if _, err := tree.List(name); err == nil {
			t.Errorf("%s is listed", name)
		}
		if err := tree.Fill(name, func(*Tree) error { return nil }); err == nil {
			t.Errorf("%s is filled", name)
		}
	}
	if b, err := tree.Tail("sparse", 10); err != nil || len(b) != 10 {
		t.Errorf("the end of a large file: %q, %v", b, err)
	}
}

// Where links to anybody's files may be made (fs.protected_hardlinks is 0), and the volume is a plain directory, they are of no use.
func TestAnotherUsersFileIsNotOpened(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: there is one user only")
	}
	const uid = 20101
	parent := t.TempDir()
	dir, shadow := filepath.Join(parent, "data"), filepath.Join(parent, "shadow")
	write(t, shadow, "SECRET")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, uid, uid), os.Link(shadow, filepath.Join(dir, "linked"))); err != nil {
		t.Fatal(err)
	}
	d := Dir{dir, uid, uid}
	if b, err := d.ReadFile("linked", 100); err == nil {
		t.Errorf("read %q", b)
	}
	if f, err := d.Append("linked"); err == nil {
		t.Errorf("opened %s for writing", f.Name())
	}
	if err := d.MakeDir("linked"); err == nil {
		t.Error("a file is a directory")
	}
	if info, err := os.Stat(shadow); err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("the file was given away: %v", err)
	}
	if err := errors.Join(d.WriteFile("own", []byte("x")), os.Link(filepath.Join(dir, "own"), filepath.Join(dir, "twice"))); err != nil {
		t.Fatal(err)
	}
	if b, err := d.ReadFile("twice", 100); err != nil || string(b) != "x" {
		t.Errorf("of the user's own file: %q, %v", b, err)
	}
}

func TestWalkSkips(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a/1", "a/2", "b/1", "b/2", "c"} {
		write(t, filepath.Join(dir, name), "")
	}
	var seen []string
	visit := func(name string, d fs.DirEntry, err error) error {
		seen = append(seen, name)
		if name == "a" || name == "b/1" {
			return fs.SkipDir
		}
		return err
	}
	if err := open(t, dir).Walk(".", visit); err != nil {
		t.Fatal(err)
	}
	want := seen
	seen = nil
	if err := fs.WalkDir(os.DirFS(dir), ".", visit); err != nil {
		t.Fatal(err)
	}
	if len(want) != len(seen) || len(seen) != 5 {
		t.Errorf("walked %v, want %v", want, seen)
	}
}

// What its user may rename is no place for the guest.
func TestTheParentMustBeRoots(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: there is one user only")
	}
	const uid = 20101
	dir := filepath.Join(t.TempDir(), "parent/data")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.Chown(dir, uid, uid)); err != nil {
		t.Fatal(err)
	}
	if err := (Dir{dir, uid, uid}).WriteFile("a", nil); err != nil {
		t.Error(err)
	}
	if err := os.Chown(filepath.Dir(dir), uid, uid); err != nil {
		t.Fatal(err)
	}
	if err := (Dir{dir, uid, uid}).WriteFile("a", nil); err == nil {
		t.Error("the user could have exchanged the directory")
	}
}

func TestTemp(t *testing.T) {
	env := datastores.Env{UID: -1, GID: -1}
	if os.Geteuid() == 0 {
		env.UID, env.GID = 20101, 20101
	}
	d, remove, err := Temp(env)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.WriteFile("pg_hba.conf", []byte("x")); err != nil {
		t.Error(err)
	}
	outer, err := os.Stat(filepath.Dir(d.Path))
	if err != nil || outer.Mode().Perm() != 0o711 || int(outer.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
		t.Errorf("above it is %v, %v", outer, err)
	}
	remove()
	if _, err := os.Stat(filepath.Dir(d.Path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it stays: %v", err)
	}
}
