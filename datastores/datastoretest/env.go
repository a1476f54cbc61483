package datastoretest

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// The users of servers under test are among these, which no passwd entry knows, as hosts give them to instances.
const (
	firstUser = 40000
	users     = 20000
)

// NewEnv makes a place for one server: Dir, DataDir, whose path is longer than that of a socket may be, and an address of its
// own in 127/8. CgroupDirs is a directory that looks like a control group: whoever is moved into it is listed there. When the test runs
// as root the server's user is one without a name and nobody else's, as on a host; else it is the test's own.
func NewEnv(t testing.TB) datastores.Env {
	t.Helper()
	return NewEnvIn(t, "")
}

// NewEnvIn is NewEnv with a place in dir.
func NewEnvIn(t testing.TB, dir string) datastores.Env {
	t.Helper()
	root, err := os.MkdirTemp(dir, "coffer") // not t.TempDir: other users must get in, and a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	env := datastores.Env{
		InstanceID: newID(),
		Dir:        filepath.Join(root, "guest"),
		DataDir:    filepath.Join(root, strings.Repeat("x", 110)),
		Address:    loopback().String(),
		UID:        -1,
		GID:        -1,
		MemoryMB:   256,
		CgroupDirs: []string{filepath.Join(root, "group")},
		Log:        slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if os.Geteuid() == 0 {
		env.UID = newUser(t)
		env.GID = env.UID
	}
	for _, err := range []error{
		os.Chmod(root, 0o711),
		os.Mkdir(env.Dir, 0o700),
		os.Mkdir(env.DataDir, 0o700),
		os.Lchown(env.DataDir, env.UID, env.GID),
		os.Mkdir(env.CgroupDirs[0], 0o700),
		os.WriteFile(filepath.Join(env.CgroupDirs[0], "cgroup.procs"), nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return env
}

// InMemory is a directory for places of servers that sync a lot, when there is one with room for many, and "" else or when TMPDIR is
// set. It is not for a server that works in another way there than on a disk, as MariaDB does.
func InMemory() string {
	const memory, room = "/dev/shm", 4 << 30
	var fs syscall.Statfs_t
	if os.Getenv("TMPDIR") == "" && syscall.Statfs(memory, &fs) == nil && fs.Bavail*uint64(fs.Bsize) >= room {
		return memory
	}
	return ""
}

// newID returns a UUID of version 4, another each time: servers that replicate must be told apart.
func newID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// loopback returns an address of 127/8 by chance, so that servers of tests that run at once each have their port.
func loopback() netip.Addr {
	b := make([]byte, 3)
	_, _ = rand.Read(b)
	return netip.AddrFrom4([4]byte{127, b[0], b[1], 1 + b[2]%254})
}

// newUser takes a user that no other test has, in this program or another: whoever has one listens at a name of the kernel's.
func newUser(t testing.TB) int {
	t.Helper()
	b := make([]byte, 4)
	for range users {
		_, _ = rand.Read(b)
		uid := firstUser + int(binary.BigEndian.Uint32(b)%users)
		if taken, err := net.Listen("unix", fmt.Sprintf("@coffer-test-user-%d", uid)); err == nil {
			t.Cleanup(func() { _ = taken.Close() })
			return uid
		}
	}
	t.Fatal("no user is free for a server")
	return 0
}

// Require ends a test that needs a server's programs and does not find them all: skipped on somebody's own machine, failed
// when CI or COFFER_REQUIRE_ENGINES is set, where a test that is never run would be taken for one that passes. more are
// further programs of the same package.
func Require(t testing.TB, program, debianPackage string, more ...string) {
	t.Helper()
	var missing []string
	for _, p := range append([]string{program}, more...) {
		if _, err := os.Stat(p); err != nil {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return
	}
	text := fmt.Sprintf("%s: not found; apt-get install %s", strings.Join(missing, ", "), debianPackage)
	if os.Getenv("CI") != "" || os.Getenv("COFFER_REQUIRE_ENGINES") != "" {
		t.Fatal(text)
	}
	t.Skip(text)
}
