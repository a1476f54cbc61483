package host

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/datastores/volume"
	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/deployments/host/sandbox"
)

// newSandboxHost is newHost with sandboxes, in a pool of its own.
func newSandboxHost(t testing.TB) *Host {
	t.Helper()
	guests := t.TempDir()
	link(t, guests, "fake-guest")
	link(t, guests, "asked-guest")
	n := rand.IntN(200)
	first := 0x70000000 + n*64*sandbox.Size
	h, err := New(Config{
		Dir: t.TempDir(), Guests: guests, Pool: fmt.Sprintf("10.%d.%d.0/24", 20+rand.IntN(200), n), Name: "test", Driver: driverSandbox,
		IDs: Range{first, first + 64*sandbox.Size - 1}, FirewallTable: "coffer_test_" + strings.ToLower(t.Name()), Every: 20 * time.Millisecond,
		Gateways: []string{"http://127.0.0.1:1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, inst := range h.list() {
			removeSandbox(t, h, inst)
		}
	})
	return h
}

func boxRequest(h *Host, n int) deployments.LaunchArgs {
	address := h.pool.Gateway()
	for range n + 1 {
		address = address.Next()
	}
	return deployments.LaunchArgs{
		InstanceID: uuid.NewString(), Manager: "fake", Token: "token-1", Address: address.String(),
		MountPoint: "/var/lib/fake", VolumeGB: 1, MemoryMB: 256, VCPUs: 1,
	}
}

// removeSandbox removes an instance and fails when anything is left of it.
func removeSandbox(t testing.TB, h *Host, inst *instance) {
	t.Helper()
	first, wire := inst.uid-sandbox.ServerID, h.sandboxes.network(inst)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := h.Remove(ctx, deployments.RemoveArgs{InstanceID: inst.id}); err != nil {
		t.Error(err)
		return
	}
	for _, uid := range []int{first, inst.uid} {
		if pids := processesOf(uid); len(pids) > 0 {
			t.Errorf("processes %v of user %d are left", pids, uid)
		}
	}
	left := []string{inst.dir, wire.Path(), "/sys/class/net/" + wire.Interface, filepath.Join(sandboxState, "runtime", inst.name()), filepath.Join(sandboxState, "roots", inst.name())}
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + groupParent + "/" + inst.name())
	for _, path := range append(left, groups...) {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is left", path)
		}
	}
	if mounts := read(t, "/proc/self/mountinfo"); strings.Contains(mounts, inst.id) {
		t.Error("something of it is still mounted")
	}
	if in, _ := (boxed{id: inst.id}).chains(); chains(t, h.cfg.FirewallTable+"_sandboxes")[in] {
		t.Error("firewall rules are left")
	}
}

// inside runs a shell command in the sandbox, as a child of its guest, and returns what it printed.
func inside(t testing.TB, inst *instance, uid int, command string) string {
	t.Helper()
	ask, reply := inst.path("guest/ask.json"), inst.path("guest/answer.json")
	_ = os.Remove(reply)
	b, err := json.Marshal(question{UID: uid, Command: command})
	if err != nil {
		t.Fatal(err)
	}
	if err := (volume.Dir{Path: inst.path("guest"), UID: inst.uid - sandbox.ServerID, GID: inst.uid - sandbox.ServerID}).WriteFile(filepath.Base(ask), b); err != nil {
		t.Fatal(err)
	}
	var q question
	eventually(t, "the guest has answered "+command, func() bool {
		b, err := os.ReadFile(reply)
		return err == nil && json.Unmarshal(b, &q) == nil
	})
	return q.Answer
}

// boxDatabase is the process of the guest's database, once it runs: what starts it runs as the same user before.
func boxDatabase(t testing.TB, inst *instance) (pid int) {
	t.Helper()
	eventually(t, "one database runs", func() bool {
		_, err := os.Stat(inst.path("guest/database.pid"))
		pids := processesOf(inst.uid)
		if len(pids) == 1 {
			pid = pids[0]
		}
		return err == nil && len(pids) == 1
	})
	return pid
}

// initPID is process 1 of the sandbox, as the machine sees it.
func initPID(t testing.TB, inst *instance) int {
	t.Helper()
	pid, _, ok := (&service.Service{Name: "sandbox", Dir: inst.path("sandbox")}).Running()
	if !ok {
		t.Fatal("no sandbox runs")
	}
	return pid
}

// TestSandbox launches an instance into a sandbox, and looks at what is inside and outside of it.
func TestSandbox(t *testing.T) {
	needRoot(t)
	h := newSandboxHost(t)
	args := boxRequest(h, 0)
	args.Manager = "asked"
	inst, reply := launch(t, h, args)
	if reply.Volume != volumeLoop || len(reply.Notes) > 0 {
		t.Errorf("reply %+v", reply)
	}
	eventually(t, "the guest's database runs", func() bool { return len(processesOf(inst.uid)) == 1 })
	for _, test := range []struct {
		uid           int
		command, want string
	}{
		{sandbox.ServerID, "id -un", "server"},
		{0, "cut -d' ' -f1,4 /proc/1/stat", "1 0"},
		{sandbox.ServerID, "set -- /proc/[0-9]*; echo $#", "2"}, // its own: the database and this shell
		{sandbox.ServerID, "cat /etc/shadow", "cat: /etc/shadow: Permission denied"},
		{0, "cat /etc/shadow", "cat: /etc/shadow: Permission denied"},
		{0, "touch /usr/x", "touch: cannot touch '/usr/x': Read-only file system"},
		{0, "touch /x", "touch: cannot touch '/x': Read-only file system"},
		{sandbox.ServerID, "touch /tmp/x /dev/shm/x /var/lib/fake/x && echo yes", "yes"},
		{sandbox.ServerID, "touch /run/x", "touch: cannot touch '/run/x': Permission denied"},
		{sandbox.ServerID, "cat /opt/coffer/etc/guest.json", "cat: /opt/coffer/etc/guest.json: Permission denied"},
		{0, "rm -f /opt/coffer/etc/guest.json", "rm: cannot remove '/opt/coffer/etc/guest.json': Read-only file system"},
		{0, "ls /home /root /srv", "ls: cannot access '/home': No such file or directory\nls: cannot access '/root': No such file or directory\nls: cannot access '/srv': No such file or directory"},
		{0, "mount -t tmpfs x /tmp", "mount: /tmp: permission denied.\n       dmesg(1) may have more information after failed mount system call."},
		{0, "unshare -U true", "unshare: unshare failed: Operation not permitted"},
		{0, "grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/1/status | tr -s '\\t\\n' ' '", "CapEff: 00000000000000eb NoNewPrivs: 1 Seccomp: 2"},
		{0, "hostname", "coffer-" + inst.id[len(inst.id)-12:]},
	} {
		if got := inside(t, inst, test.uid, test.command); got != test.want {
			t.Errorf("user %d: %s: %q, want %q", test.uid, test.command, got, test.want)
		}
	}
}

// TestSandboxOutlives: the guest is replaced and the database is not; the host is started anew and neither is.
func TestSandboxOutlives(t *testing.T) {
	needRoot(t)
	h := newSandboxHost(t)
	inst, _ := launch(t, h, boxRequest(h, 0))
	server := func() int { return boxDatabase(t, inst) }
	guests := func() []int {
		var pids []int
		for _, pid := range processesOf(inst.uid - sandbox.ServerID) {
			if pid != initPID(t, inst) {
				pids = append(pids, pid)
			}
		}
		return pids
	}
	db, first, box := server(), guests(), initPID(t, inst)
	if len(first) != 1 {
		t.Fatalf("guests %v", first)
	}
	if err := syscall.Kill(first[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another guest runs", func() bool { now := guests(); return len(now) == 1 && now[0] != first[0] })
	if got := server(); got != db {
		t.Errorf("the database was %d and is %d", db, got)
	}

	next := again(t, h)
	next.each(t.Context(), next.recover)
	if got := initPID(t, inst); got != box || server() != db {
		t.Error("the next host started what ran already")
	}
	// A host that was killed while the runtime started the sandbox has not written down its init.
	if err := os.Remove(inst.path("sandbox/sandbox.pid")); err != nil {
		t.Fatal(err)
	}
	next.each(t.Context(), next.recover)
	if got := initPID(t, inst); got != box || server() != db {
		t.Error("the next host started what the runtime had started")
	}
	// Without its init, nothing of a sandbox is left; the host starts it anew.
	if err := syscall.Kill(box, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its processes have ended", func() bool { return len(processesOf(inst.uid)) == 0 && len(guests2(inst)) == 0 })
	next.each(t.Context(), next.recover)
	if server() == db {
		t.Error("the database is the one that was killed")
	}
}

func guests2(inst *instance) []int { return processesOf(inst.uid - sandbox.ServerID) }

// TestSandboxNetwork: who may reach an instance, and whom it may reach.
func TestSandboxNetwork(t *testing.T) {
	needRoot(t)
	h := newSandboxHost(t)
	gateway, other := listen(t, "127.0.0.1"), listen(t, "0.0.0.0")
	h.cfg.Gateways = []string{"http://" + gateway}
	port := func(address string) string { _, p, _ := net.SplitHostPort(address); return p }
	start := func(n int, firewall deployments.Firewall) *instance {
		args := boxRequest(h, n)
		args.Manager, args.VolumeGB, args.Firewall = "asked", 0, firewall
		inst, _ := launch(t, h, args)
		inside(t, inst, 0, "true") // it listens by now
		return inst
	}
	host := h.pool.Gateway().String()
	open := start(0, deployments.Firewall{TCPPorts: []string{"7000"}})
	closed := start(1, deployments.Firewall{TCPPorts: []string{"7000"}, CIDRs: prefixes("192.0.2.0/24")})
	friend := start(2, deployments.Firewall{TCPPorts: []string{"7000"}, Closed: true, Peers: []string{open.address.String()}})
	for _, inst := range []struct {
		*instance
		want bool
	}{{open, true}, {closed, false}, {friend, false}} {
		if got := connects(inst.address.String() + ":7000"); got != inst.want {
			t.Errorf("this machine reaches %s: %v, want %v", inst.address, got, inst.want)
		}
	}
	reach := func(from *instance, address string, want bool) {
		t.Helper()
		host, port, _ := net.SplitHostPort(address)
		got := inside(t, from, sandbox.ServerID, fmt.Sprintf("timeout 1 bash -c '</dev/tcp/%s/%s' && echo yes", host, port))
		if (got == "yes") != want {
			t.Errorf("%s reaches %s: %q, want %v", from.address, address, got, want)
		}
	}
	reach(open, host+":"+port(gateway), true)
	reach(open, host+":"+port(other), false)
	reach(open, "127.0.0.1:"+port(gateway), false)
	reach(open, friend.address.String()+":7000", false) // friend lets it in, but is no peer of its own
	reach(friend, open.address.String()+":7000", true)
	reach(friend, closed.address.String()+":7000", false)

	// A rule that is changed counts at once, for what runs.
	args := friend.rec.Launch
	args.Firewall.Closed, args.Firewall.CIDRs = false, prefixes(host+"/32")
	launch(t, h, args)
	if !connects(friend.address.String() + ":7000") {
		t.Error("the new rule lets nobody in")
	}
}

func connects(address string) bool {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// TestSandboxIsLimited: what is inside has the flavor's memory, and a remove leaves no control group, also one that the runtime has
// forgotten.
func TestSandboxIsLimited(t *testing.T) {
	needRoot(t)
	h := newSandboxHost(t)
	inst, _ := launch(t, h, boxRequest(h, 0))
	limits, _ := filepath.Glob("/sys/fs/cgroup/memory/" + groupParent + "/" + inst.name() + "/memory.limit_in_bytes")
	if len(limits) == 1 && strings.TrimSpace(read(t, limits[0])) != fmt.Sprint(memoryLimit(256)) {
		t.Errorf("the limit is %s bytes, want %d", read(t, limits[0]), memoryLimit(256))
	}
	procs, _ := filepath.Glob("/sys/fs/cgroup/*/" + groupParent + "/" + inst.name() + "/cgroup.procs")
	for _, file := range procs {
		if !strings.Contains(read(t, file), fmt.Sprint(initPID(t, inst))) {
			t.Errorf("init is not in %s", file)
		}
	}
	// As after a removal that was cut: the runtime knows nothing any more, and the groups are there.
	box := h.sandboxes.sandbox(inst)
	if err := box.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, file := range procs {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	removeSandbox(t, h, inst)
}
