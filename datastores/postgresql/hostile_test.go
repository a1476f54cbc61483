package postgresql

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// secret is in a file of somebody else's.
const secret = "THE SECRET OF ANOTHER TENANT"

// foreign is another tenant's data directory, as far as a backup would look.
func foreign(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "base/5"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "base/5/16386"), []byte(secret), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "shadow"), []byte(secret), 0o600))
	return dir
}

// exchange puts a link in place of what has the name, as code does that a tenant runs as the server's user.
func exchange(t *testing.T, path, target string) (back func()) {
	t.Helper()
	must(t, errors.Join(os.Rename(path, path+"-mine"), os.Symlink(target, path)))
	return func() { must(t, errors.Join(os.Remove(path), os.Rename(path+"-mine", path))) }
}

// C3: a backup followed a link in place of the data directory. The server may not notice: what it looks for is there.
func TestABackupHoldsNobodyElsesFiles(t *testing.T) {
	m, victim := prepared(t), filepath.Join(t.TempDir(), "victim")
	must(t, exec.Command("cp", "-a", m.path(dataDir), victim).Run())
	must(t, os.Chmod(filepath.Dir(filepath.Dir(victim)), 0o755))
	must(t, os.Chmod(filepath.Dir(victim), 0o755))
	must(t, os.WriteFile(filepath.Join(victim, "base/5/99999"), []byte(secret), 0o600))
	back := exchange(t, m.path(dataDir), victim)
	var stream bytes.Buffer
	_, err := m.BackupStrategies()[0].Backup(t.Context(), datastores.BackupRequest{ID: "b", Output: &stream, Expect: func(int64) {}})
	back()
	if err == nil || bytes.Contains(stream.Bytes(), []byte(secret)) {
		t.Errorf("with a link in place of the data the backup ended with %v", err)
	}
	if _, err := taken(t, m, 0, nil); err != nil {
		t.Error(err)
	}
}

// C1: the guest followed a link to the socket of another tenant's server, which lets the machine's root in as its administrator, and gave
// that server's root the password of this one's.
func TestTheGuestTalksToNobodyElsesServer(t *testing.T) {
	mine, victim := prepared(t), prepared(t)
	back := exchange(t, mine.path(socketName), victim.path(socketName))
	_, err := mine.EnableRoot(t.Context(), datastores.NewSecret("pass"))
	back()
	if err == nil {
		t.Error("root was enabled, of whom?")
	}
	if enabled, err := victim.RootEnabled(t.Context()); err != nil || enabled {
		t.Errorf("the other server's root is enabled: %v, %v", enabled, err)
	}
	if _, err := mine.EnableRoot(t.Context(), datastores.NewSecret("pass")); err != nil {
		t.Error(err)
	}
}

// C2: root unpacked a backup, whose names a tenant chooses, wherever a link led that took the name of the directory in the making.
func TestARestoreWritesNowhereElse(t *testing.T) {
	m, victim := newManager(t, newEnv(t), DefaultOptions()), foreign(t)
	link := datastores.BackupLink{ID: "b", Open: func(context.Context) (io.ReadCloser, error) {
		making, err := filepath.Glob(m.path(dataDir + ".making-*"))
		if err != nil || len(making) != 1 {
			t.Fatalf("in the making: %v, %v", making, err)
		}
		exchange(t, making[0], victim)
		var stream bytes.Buffer
		w := tar.NewWriter(&stream)
		must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "shadow", Size: 1}))
		_, err = w.Write([]byte("x"))
		return io.NopCloser(&stream), errors.Join(err, w.Close())
	}}
	err := m.restore(t.Context(), datastores.RestoreRequest{Chain: []datastores.BackupLink{link}, Progress: func(string) {}})
	if b, _ := os.ReadFile(filepath.Join(victim, "shadow")); string(b) != secret {
		t.Errorf("another's file is %q, and the restore ended with %v", b, err)
	}
	if left, err := os.ReadDir(victim); err != nil || len(left) != 2 {
		t.Errorf("another's directory holds %v, %v", left, err)
	}
}

// H11: what the guest reads at once has an end.
func TestTheVersionOfTheDataIsShort(t *testing.T) {
	m := newManager(t, newEnv(t), DefaultOptions())
	must(t, m.data.MakeDir(dataDir))
	must(t, os.WriteFile(m.path(dataDir+"/PG_VERSION"), nil, 0o600))
	must(t, os.Truncate(m.path(dataDir+"/PG_VERSION"), 1<<40))
	if _, err := m.dataVersion(); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a version of a terabyte: %v", err)
	}
	must(t, os.Remove(m.path(dataDir+"/PG_VERSION")))
	must(t, os.Symlink("/dev/zero", m.path(dataDir+"/PG_VERSION")))
	if _, err := m.dataVersion(); err == nil {
		t.Error("a version without end was read")
	}
}

// H3: what root starts by COPY leaves the server's process group, and forks for as long as it likes. It ends with the server.
func TestAProgramOfRootsEndsWithTheServer(t *testing.T) {
	m := prepared(t)
	name, err := m.EnableRoot(t.Context(), datastores.NewSecret("pass"))
	must(t, err)
	s, err := login(t, m, name, "pass", homeDatabase)
	must(t, err)
	must(t, s.exec(t.Context(), `COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; setsid sh -c "f() { f & }; f" >/dev/null 2>&1 &'`))
	must(t, m.Stop(t.Context()))
	for range 100 {
		if left := service.ProcessesOf(m.env.UID); m.env.UID >= 0 && len(left) > 0 {
			t.Fatalf("processes %v are left", left)
		}
	}
	must(t, m.Start(t.Context()))
}
