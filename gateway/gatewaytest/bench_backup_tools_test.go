package gatewaytest_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// output is what the tool wrote, and how long that took.
type output struct {
	bytes           int64
	written, synced time.Duration
}

// toolBackup has the tool write to a local file.
func (b *backupBench) toolBackup() (path string, w output) {
	t := b.t
	t.Helper()
	f, err := os.Create(b.path("backup.of.tool"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	began := time.Now()
	b.exec(b.back(b, f))
	w.written = time.Since(began)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	w.synced = time.Since(began)
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	w.bytes = info.Size()
	return f.Name(), w
}

// toolRestore makes a data directory of a file that the tool wrote. No server is started on it.
func (b *backupBench) toolRestore(path string) (took, synced time.Duration) {
	t := b.t
	t.Helper()
	dir := b.workDir()
	defer os.RemoveAll(dir)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	defer f.Close()
	began := time.Now()
	for _, cmd := range b.restore(b, dir) {
		cmd.Stdin = f
		b.exec(cmd)
	}
	took = time.Since(began)
	b.exec(exec.Command("sync", "-f", dir))
	return took, time.Since(began)
}

func (b *backupBench) exec(cmd *exec.Cmd) {
	b.t.Helper()
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		b.t.Fatalf("%s: %v\n%s", cmd, err, said.String())
	}
}

// onVolume is a path on the instance's volume.
func (b *backupBench) onVolume(name string) string {
	return filepath.Join(b.world.path("host"), "instances", b.id, "root", b.volume, name)
}

// asServer has a program run as the user of the instance's server.
func (b *backupBench) asServer(cmd *exec.Cmd) *exec.Cmd {
	if os.Geteuid() == 0 {
		uid, gid := b.owner()
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	}
	cmd.Dir = b.onVolume("data")
	return cmd
}

func (b *backupBench) owner() (uid, gid uint32) {
	info, err := os.Stat(b.onVolume("data"))
	if err != nil {
		b.t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Uid, info.Sys().(*syscall.Stat_t).Gid
}

// workDir is an empty directory of the server's user.
func (b *backupBench) workDir() string {
	dir := b.path("tool")
	if err := os.RemoveAll(dir); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		b.t.Fatal(err)
	}
	uid, gid := b.owner()
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		b.t.Fatal(err)
	}
	return dir
}

func (b *backupBench) mariadbBackup(out *os.File) *exec.Cmd {
	password, err := os.ReadFile(b.guestFile(b.id, "os_admin.password"))
	if err != nil {
		b.t.Fatal(err)
	}
	dir := b.workDir()
	login, text := filepath.Join(dir, "login.cnf"), fmt.Sprintf("[client]\nuser=os_admin\npassword=%s\nsocket=../mysqld.sock\n", strings.TrimSpace(string(password)))
	if err := os.WriteFile(login, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	uid, gid := b.owner()
	if err := os.Chown(login, int(uid), int(gid)); err != nil {
		b.t.Fatal(err)
	}
	cmd := b.asServer(exec.Command("/usr/bin/mariadb-backup", "--defaults-file="+login, "--backup", "--stream=xbstream",
		"--datadir="+b.onVolume("data"), "--target-dir="+dir, "--tmpdir="+dir))
	cmd.Stdout = out
	return cmd
}

func (b *backupBench) mariadbRestore(dir string) []*exec.Cmd {
	return []*exec.Cmd{
		b.asServer(exec.Command("/usr/bin/mbstream", "-x", "-C", dir)),
		b.asServer(exec.Command("/usr/bin/mariadb-backup", "--no-defaults", "--prepare", "--target-dir="+dir)),
	}
}

// pgBackup is run as the test's user, as whom its guest is run, too: the account is for nobody else.
func (b *backupBench) pgBackup(out *os.File) *exec.Cmd {
	sockets := b.path("sockets") // the path of a socket must be short
	_ = os.Remove(sockets)
	if err := os.Symlink(b.onVolume(""), sockets); err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command("/usr/lib/postgresql/15/bin/pg_basebackup", "--host="+sockets, "--username=os_admin", "--no-password",
		"--pgdata=-", "--format=tar", "--wal-method=fetch", "--checkpoint=fast")
	cmd.Stdout = out
	return cmd
}

func (b *backupBench) pgRestore(dir string) []*exec.Cmd {
	return []*exec.Cmd{exec.Command("tar", "-x", "-C", dir)}
}
