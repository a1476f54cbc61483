package gatewaytest_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// machine is a corner of this machine for one test: a directory, addresses, user ids and a firewall table that nobody
// else uses. Without root its host makes plain directories and no rules, and its databases run as the test's user.
type machine struct {
	dir       string // short, as the paths of sockets must be
	net       string // "127.a.b": programs listen below .128, and instances above it when there are no sandboxes
	pool      string // instances' addresses
	walls     bool   // instances are in sandboxes
	clients   string // "172.a.b": addresses that a test may give to itself
	firstUID  int
	table     string
	instances []string // ids of all that were ever there
}

const (
	boxesOfMachine = 128  // that one test may make
	idsOfBox       = 1024 // see package sandbox
	uidsOfMachine  = boxesOfMachine * idsOfBox
)

// newMachine makes one. After the test, when all its programs have ended, nothing may be left of it.
func newMachine(t *testing.T) *machine {
	t.Helper()
	dir, err := os.MkdirTemp("", "cf")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { // databases have users of their own
		t.Fatal(err)
	}
	number := numberOfMachine(t)
	m := &machine{
		dir: dir, net: fmt.Sprintf("127.%d.%d", 100+number/100, number%100),
		firstUID: 0x60000000 + number*uidsOfMachine, table: "coffer_test_" + strconv.Itoa(number),
	}
	m.clients = fmt.Sprintf("172.%d.%d", 16+number/128, number%128)
	if m.walls = os.Geteuid() == 0; m.walls {
		m.pool = fmt.Sprintf("10.%d.%d.0/24", 100+number/100, number%100)
	} else {
		m.wallless()
	}
	t.Cleanup(func() {
		// What was killed takes a busy kernel a moment to end.
		if !t.Failed() && !until.Holds(time.Minute, func() bool { return len(m.left()) == 0 }) {
			t.Errorf("left behind:\n%s", strings.Join(m.left(), "\n"))
		}
		m.sweep()
		if os.Getenv("COFFER_TEST_LOGS") != "" && t.Failed() {
			t.Logf("the files of host and guests are kept in %s", m.dir)
			return
		}
		_ = os.RemoveAll(m.dir)
	})
	return m
}

// numberOfMachine takes a number that no other test has, in this program or another: whoever has one listens at a name of the kernel's.
func numberOfMachine(t *testing.T) int {
	t.Helper()
	for range 10_000 {
		number := rand.IntN(2000)
		if taken, err := net.Listen("unix", fmt.Sprintf("@coffer-test-machine-%d", number)); err == nil {
			t.Cleanup(func() { _ = taken.Close() }) // the last of all
			return number
		}
	}
	t.Fatal("no machine is free")
	return 0
}

// path of a file or directory of the machine.
func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

// address is where a program of the machine may listen; n is 1 to 127.
func (m *machine) address(n, port int) string { return fmt.Sprintf("%s.%d:%d", m.net, n, port) }

// hostArgs are those of the machine's host, once its enrolment token is stored.
func (m *machine) hostArgs(p gatewaytest.Programs, gateway string) []string {
	args := []string{
		"-gateways", gateway, "-allow-http", "-token-file", m.path("token"), "-dir", m.path("host"), "-guests", p.Path("guests"),
		"-address-pool", m.pool, "-firewall-table", m.table,
	}
	ids := fmt.Sprintf("%d-%d", m.firstUID, m.firstUID+uidsOfMachine-1)
	if !m.walls {
		return append(args, "-driver", "process", "-uids", ids)
	}
	return append(args, "-image-dir", imageDir(), "-ids", ids)
}

// driver is how its host runs instances.
func (m *machine) driver() string {
	if m.walls {
		return "oci"
	}
	return "process"
}

// wallless has the machine's host run instances as plain processes.
func (m *machine) wallless() { m.walls, m.pool = false, m.net+".128/25" }

// enrol asks the gateway for the host's token, stores it, and returns the host's id.
func (m *machine) enrol(t *testing.T, gateway string) string {
	t.Helper()
	token, id := gatewaytest.EnrolmentToken(t, gateway)
	if err := os.WriteFile(m.path("token"), []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	return id
}

// imageDir is where `task image` makes images.
func imageDir() string { return cmp.Or(os.Getenv("COFFER_IMAGES"), "/var/cache/coffer/images") }

// guestFile is the path of a file in the directory of an instance's guest.
func (m *machine) guestFile(instance, name string) string {
	return filepath.Join(m.path("host"), "instances", instance, "guest", name)
}

// outside is the process id that a process of an instance has on this machine, by the one that it has inside; 0 when it has ended.
func (m *machine) outside(instance string, pid int) int {
	if !m.walls {
		return pid
	}
	for _, other := range m.processes() {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", other))
		_, ids, _ := strings.Cut(string(status), "\nNSpid:")
		ids, _, _ = strings.Cut(ids, "\n")
		if fields := strings.Fields(ids); len(fields) > 0 && fields[len(fields)-1] == strconv.Itoa(pid) && instanceOf(other) == instance {
			return other
		}
	}
	return 0
}

// serverPID is the process of an instance's server as its guest has written it down; 0 while there is none.
func (m *machine) serverPID(instance string) int {
	files, _ := filepath.Glob(m.guestFile(instance, "*.pid"))
	for _, file := range files {
		var process struct {
			PID int `json:"pid"`
		}
		if text, err := os.ReadFile(file); err == nil && json.Unmarshal(text, &process) == nil && process.PID > 0 {
			return m.outside(instance, process.PID)
		}
	}
	return 0
}

var uuid = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// instanceOf is the instance that a process belongs to, by its control group or its command line.
func instanceOf(pid int) string {
	for _, file := range []string{"cgroup", "cmdline"} {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if id := uuid.Find(text); id != nil {
			return string(id)
		}
	}
	return ""
}

// guests are the processes of the guests that run, by instance. A tool that a guest is about to run has the guest's command line still.
func (m *machine) guests() map[string]int {
	found := map[string]int{}
	for _, pid := range m.processes() {
		if looksLikeGuest(pid) && !looksLikeGuest(parentOf(pid)) {
			found[instanceOf(pid)] = pid
		}
	}
	return found
}

func looksLikeGuest(pid int) bool {
	command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	argv := strings.Split(string(command), "\x00")
	return strings.HasSuffix(argv[0], "-guest") && len(argv) > 1 && argv[1] == "run"
}

// parentOf is 0 of a process that has ended.
func parentOf(pid int) (parent int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, after, _ := strings.Cut(string(status), "\nPPid:")
	_, _ = fmt.Sscan(after, &parent)
	return parent
}

// left lists processes, mounts, control groups and rules of the machine that are there still.
func (m *machine) left() []string {
	var left []string
	for _, pid := range m.processes() {
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		left = append(left, fmt.Sprintf("process %d: %s", pid, strings.ReplaceAll(string(command), "\x00", " ")))
	}
	for _, mount := range m.mounts() {
		left = append(left, "mount "+mount)
	}
	for _, group := range m.groups() {
		left = append(left, "control group "+group)
	}
	for _, table := range m.tables() {
		left = append(left, "nftables table "+table)
	}
	for _, id := range m.instances {
		for _, pattern := range []string{"/run/netns/coffer-" + id, "/run/coffer-sandboxes/roots/" + id, "/run/coffer-sandboxes/runtime/" + id} {
			paths, _ := filepath.Glob(pattern + "*") // the host's mark follows; a wire goes with its namespace
			left = append(left, paths...)
		}
	}
	return left
}

// processes are those of the machine's users, and those that name its directory.
func (m *machine) processes() []int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var pids []int
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		info, err := os.Stat(dir)
		command, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || len(command) == 0 || pid == os.Getpid() { // a zombie has no command line any more
			continue
		}
		uid := int(info.Sys().(*syscall.Stat_t).Uid)
		if strings.Contains(string(command), m.dir+"/") || uid >= m.firstUID && uid < m.firstUID+uidsOfMachine {
			pids = append(pids, pid)
		}
	}
	return pids
}

// tables are those of the firewall that are there.
func (m *machine) tables() []string {
	return slices.DeleteFunc([]string{m.table, m.table + "_sandboxes"}, func(table string) bool {
		return exec.Command("nft", "list", "table", "inet", table).Run() != nil
	})
}

func (m *machine) mounts() []string {
	table, _ := os.ReadFile("/proc/mounts")
	var points []string
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); strings.HasPrefix(fields[1], m.dir+"/") {
			points = append(points, fields[1])
		}
	}
	return points
}

func (m *machine) groups() []string {
	v1, _ := filepath.Glob("/sys/fs/cgroup/*/coffer/*")
	v2, _ := filepath.Glob("/sys/fs/cgroup/coffer/*")
	return slices.DeleteFunc(append(v1, v2...), func(dir string) bool {
		return !slices.ContainsFunc(m.instances, func(id string) bool { return strings.HasPrefix(filepath.Base(dir), id) })
	})
}

// sweep takes away whatever a test that failed has left, but for its files.
func (m *machine) sweep() {
	for _, pid := range m.processes() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for _, mount := range m.mounts() {
		_ = syscall.Unmount(mount, syscall.MNT_DETACH)
	}
	for _, table := range m.tables() {
		_ = exec.Command("nft", "delete", "table", "inet", table).Run()
	}
	for _, id := range m.instances {
		spaces, _ := filepath.Glob("/run/netns/coffer-" + id + "*")
		for _, path := range spaces {
			_ = exec.Command("ip", "netns", "delete", filepath.Base(path)).Run()
		}
	}
	_ = until.Holds(time.Second, func() bool {
		for _, group := range m.groups() { // busy until its last process is reaped
			_ = os.Remove(group)
		}
		return len(m.groups()) == 0
	})
}
