package gatewaytest_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
)

// sealer is what seals a stream, or opens it again, outside of Coffer. It authenticates nothing, which costs less than what Coffer does.
func sealer(more ...string) *exec.Cmd {
	zeros := strings.Repeat("0", 64)
	return exec.Command("openssl", append([]string{"enc", "-aes-256-ctr", "-nosalt", "-K", zeros, "-iv", zeros[:32]}, more...)...)
}

// toolSize is how much the tool writes for a backup. What it reads is in memory then.
func (b *backupBench) toolSize() (size int64) {
	cmd := b.back(b)
	cmd.Stdout = writerFunc(func(p []byte) (int, error) { size += int64(len(p)); return len(p), nil })
	b.exec(cmd)
	return size
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// toolBackup has the tool write to a local file, through zstd and a sealer, and syncs that.
func (b *backupBench) toolBackup() (path string, took time.Duration) {
	t := b.t
	t.Helper()
	f, err := os.Create(b.path("backup.of.tool"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seal := sealer()
	seal.Stdout = f
	began := time.Now()
	b.exec(b.back(b), exec.Command("zstd", "-1", "-q"), seal)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	return f.Name(), time.Since(began)
}

// toolRestore makes a data directory of a file that toolBackup made, syncs it, and starts a server on it until that answers.
func (b *backupBench) toolRestore(path string) time.Duration {
	t := b.t
	t.Helper()
	dir := b.workDir()
	defer os.RemoveAll(dir)
	defer os.Remove(path)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	open, cmds := sealer("-d"), b.restore(b, dir)
	open.Stdin = f
	began := time.Now()
	b.exec(open, exec.Command("zstd", "-d", "-q"), cmds[0])
	for _, cmd := range cmds[1:] {
		b.exec(cmd)
	}
	b.exec(exec.Command("sync", "-f", dir))
	server, address := b.serve(b, dir)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	until.Promptly(t, benchTimeout, "an answer of the server of "+dir, func() bool { return b.ready(address) })
	return time.Since(began)
}

// exec runs programs, each of which reads what the one before it writes.
func (b *backupBench) exec(cmds ...*exec.Cmd) {
	b.t.Helper()
	said := make([]bytes.Buffer, len(cmds))
	for i, cmd := range cmds {
		cmd.Stderr = &said[i]
		if i == 0 {
			continue
		}
		r, w, err := os.Pipe()
		if err != nil {
			b.t.Fatal(err)
		}
		cmds[i-1].Stdout, cmd.Stdin = w, r
		defer r.Close()
		defer w.Close()
	}
	for _, cmd := range cmds {
		if err := cmd.Start(); err != nil {
			b.t.Fatalf("%s: %v", cmd, err)
		}
	}
	for i, cmd := range cmds {
		if w, ok := cmd.Stdout.(*os.File); ok && i < len(cmds)-1 {
			_ = w.Close() // the program has its own
		}
		if err := cmd.Wait(); err != nil {
			b.t.Fatalf("%s: %v\n%s", cmd, err, said[i].String())
		}
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

func (b *backupBench) mariadbBackup() *exec.Cmd {
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
	return b.asServer(exec.Command("/usr/bin/mariadb-backup", "--defaults-file="+login, "--backup", "--stream=xbstream",
		"--datadir="+b.onVolume("data"), "--target-dir="+dir, "--tmpdir="+dir))
}

func (b *backupBench) mariadbRestore(dir string) []*exec.Cmd {
	return []*exec.Cmd{
		b.asServer(exec.Command("/usr/bin/mbstream", "-x", "-C", dir)),
		b.asServer(exec.Command("/usr/bin/mariadb-backup", "--no-defaults", "--prepare", "--target-dir="+dir)),
	}
}

func (b *backupBench) mariadbServe(dir string) (server *exec.Cmd, address string) {
	address = filepath.Join(dir, "s")
	return b.asServer(exec.Command("/usr/sbin/mariadbd", "--no-defaults", "--datadir="+dir, "--socket="+address, "--skip-networking")), address
}

// mariadbReady waits for what a server says first.
func mariadbReady(address string) bool {
	conn, err := net.Dial("unix", address)
	if err != nil {
		return false
	}
	defer conn.Close()
	n, _ := conn.Read(make([]byte, 1))
	return n == 1
}

// pgBackup is run as the test's user, as whom its guest is run, too: the account is for nobody else.
func (b *backupBench) pgBackup() *exec.Cmd {
	sockets := b.path("sockets") // the path of a socket must be short
	_ = os.Remove(sockets)
	if err := os.Symlink(b.onVolume(""), sockets); err != nil {
		b.t.Fatal(err)
	}
	return exec.Command("/usr/lib/postgresql/15/bin/pg_basebackup", "--host="+sockets, "--username=os_admin", "--no-password",
		"--pgdata=-", "--format=tar", "--wal-method=fetch", "--checkpoint=fast")
}

func (b *backupBench) pgRestore(dir string) []*exec.Cmd {
	return []*exec.Cmd{b.asServer(exec.Command("tar", "-x", "-C", dir))}
}

func (b *backupBench) pgServe(dir string) (server *exec.Cmd, address string) {
	for name, text := range map[string]string{"bench.conf": "", "bench.hba": "local all all trust\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			b.t.Fatal(err)
		}
	}
	argv := []string{"-D", dir}
	for _, set := range []string{"config_file=" + filepath.Join(dir, "bench.conf"), "hba_file=" + filepath.Join(dir, "bench.hba"), "ident_file=/dev/null",
		"listen_addresses=", "unix_socket_directories=" + dir} {
		argv = append(argv, "-c", set)
	}
	return b.asServer(exec.Command("/usr/lib/postgresql/15/bin/postgres", argv...)), dir
}

func pgReady(address string) bool {
	return exec.Command("/usr/lib/postgresql/15/bin/pg_isready", "-q", "-h", address).Run() == nil
}
