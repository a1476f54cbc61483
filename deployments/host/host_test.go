package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/service"
	"github.com/cofferdb/coffer/deployments"
)

// newHost makes a host with a guest for the manager "fake", and takes away at the end what its instances left.
func newHost(t testing.TB) *Host {
	t.Helper()
	return newHostIn(t, t.TempDir())
}

// newHostIn makes a host that keeps everything in a directory.
func newHostIn(t testing.TB, dir string) *Host {
	t.Helper()
	guests := t.TempDir()
	link(t, guests, "fake-guest")
	first := 400_000 + 100*rand.IntN(10_000) // hosts of one machine have different ones
	h, err := New(Config{
		Dir: dir, Guests: guests, Driver: driverProcess, Pool: "127.99.0.0/16", Name: "test", UIDs: Range{first, first + 99},
		FirewallTable: testTable(t), Every: 20 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, inst := range h.list() {
			remove(t, h, inst.id)
		}
	})
	return h
}

// again is the host after its process was ended and started again.
func again(t testing.TB, h *Host) *Host {
	t.Helper()
	next, err := New(h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// supervised runs the supervisor of h until the test ends.
func supervised(t testing.TB, h *Host) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { h.supervise(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func request(n int) deployments.LaunchArgs {
	return deployments.LaunchArgs{
		InstanceID: uuid.NewString(), Manager: "fake", Token: "token-1", Address: fmt.Sprintf("127.99.0.%d", n+2),
		MountPoint: "/var/lib/fake", VolumeGB: 1, MemoryMB: 256, VCPUs: 1,
	}
}

func launch(t testing.TB, h *Host, args deployments.LaunchArgs) (*instance, deployments.LaunchReply) {
	t.Helper()
	reply, err := h.Launch(t.Context(), args)
	if failure, ok := errors.AsType[*service.Failure](err); ok {
		t.Fatalf("%v\n%s", err, failure.Words)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h.find(args.InstanceID), reply
}

// remove removes an instance and fails when anything is left of it.
func remove(t testing.TB, h *Host, id string) {
	t.Helper()
	inst := h.find(id)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := h.Remove(ctx, deployments.RemoveArgs{InstanceID: id}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(inst.dir); err == nil {
		t.Error("the directory is left")
	}
	for _, point := range mountPoints(read(t, "/proc/self/mountinfo")) {
		if strings.HasPrefix(point, inst.dir) {
			t.Errorf("%s is still mounted", point)
		}
	}
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range loops {
		if b, err := os.ReadFile(file); err == nil && strings.HasPrefix(string(b), inst.dir) {
			t.Errorf("%s is still attached: %s", file, b)
		}
	}
	for _, dir := range h.cgroups.groups(inst.name()) {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("control group %s is left", dir)
		}
	}
	if inst.uid > 0 && len(processesOf(inst.uid)) > 0 {
		t.Errorf("processes %v of user %d are left", processesOf(inst.uid), inst.uid)
	}
	if h.root && chains(t, h.firewall.table)[id] {
		t.Error("firewall rules are left")
	}
	if h.find(id) != nil {
		t.Error("the host knows it still")
	}
}

func chains(t testing.TB, table string) map[string]bool {
	t.Helper()
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	all, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, c := range all {
		if c.Table.Name == table {
			names[c.Name] = true
		}
	}
	return names
}

// database is the process that the fake guest has started.
func database(t testing.TB, inst *instance) int {
	t.Helper()
	s := service.Service{Name: "database", Dir: inst.path("guest")}
	var pid int
	eventually(t, "the database runs", func() (ok bool) {
		pid, _, ok = s.Running()
		return ok
	})
	return pid
}

func guestPID(inst *instance) int {
	pid, _, _ := inst.guest.Running()
	return pid
}

func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	until.True(t, 20*time.Second, what, done)
}

func TestLaunch(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	args := request(0)
	inst, reply := launch(t, h, args)
	if diff := cmp.Diff(deployments.LaunchReply{Volume: volumeLoop}, reply); diff != "" {
		t.Errorf("reply (-want +got)\n%s", diff)
	}

	var volume unix.Statfs_t
	if err := unix.Statfs(inst.mountPoint(), &volume); err != nil {
		t.Fatal(err)
	}
	if size := volume.Blocks * uint64(volume.Bsize); size < 900<<20 || size > 1<<30 {
		t.Errorf("the volume has %d bytes", size)
	}
	if volume.Flags&unix.ST_NOSUID == 0 || volume.Flags&unix.ST_NODEV == 0 {
		t.Errorf("mount flags %x lack nosuid, nodev", volume.Flags)
	}
	for path, want := range map[string]fs.FileMode{
		inst.mountPoint(): fs.ModeDir | 0o700, inst.path("root"): fs.ModeDir | 0o711, inst.path("guest"): fs.ModeDir | 0o711,
		inst.path(configFile): 0o600, inst.path(stateFile): 0o600, inst.path(logFile): 0o600, inst.path(volumeImage): 0o600,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v %v, want %v", path, info.Mode(), err, want)
		}
	}
	if info, _ := os.Stat(inst.mountPoint()); int(info.Sys().(*syscall.Stat_t).Uid) != inst.uid || inst.uid < 20000 {
		t.Errorf("the volume is not user %d's", inst.uid)
	}

	pid := database(t, inst)
	if got := processesOf(inst.uid); len(got) != 1 || got[0] != pid {
		t.Errorf("processes of user %d: %v, want the database %d", inst.uid, got, pid)
	}
	for _, c := range h.cgroups {
		file, want := c.limit(args.MemoryMB, args.VCPUs)
		if got := strings.TrimSpace(read(t, filepath.Join(c.group(inst.name()), file))); got != want {
			t.Errorf("%s is %s, want %s", file, got, want)
		}
		procs := strings.Fields(read(t, filepath.Join(c.group(inst.name()), "cgroup.procs")))
		both := []string{strconv.Itoa(pid), strconv.Itoa(guestPID(inst))}
		slices.Sort(procs)
		if slices.Sort(both); !slices.Equal(procs, both) {
			t.Errorf("in the %s group are %v, want the database and its guest, %v", c.name, procs, both)
		}
	}
	if !chains(t, h.firewall.table)[inst.id] {
		t.Error("no firewall rules")
	}
	if strings.Contains(read(t, inst.path(stateFile)), args.Token) {
		t.Error("state.json holds the token")
	}

	remove(t, h, inst.id)
	if err := h.Remove(t.Context(), deployments.RemoveArgs{InstanceID: inst.id}); err != nil {
		t.Error("removed twice:", err)
	}
}

func TestLaunchAgain(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	args := request(0)
	inst, _ := launch(t, h, args)
	guest, db, uid := guestPID(inst), database(t, inst), inst.uid

	launch(t, h, args)
	if got := guestPID(inst); got != guest {
		t.Errorf("the same launch replaced guest %d by %d", guest, got)
	}
	args.Token, args.MemoryMB = "token-2", 512
	launch(t, h, args)
	if got := guestPID(inst); got == guest {
		t.Error("the guest was not started again with the new token")
	}
	if !strings.Contains(read(t, inst.path(configFile)), "token-2") {
		t.Error("the new token is not in the guest's configuration")
	}
	if inst.uid != uid || database(t, inst) != db {
		t.Error("a launch touched the user or the database")
	}

	for name, change := range map[string]func(*deployments.LaunchArgs){
		"address":     func(a *deployments.LaunchArgs) { a.Address = "127.99.9.9" },
		"mount point": func(a *deployments.LaunchArgs) { a.MountPoint = "/data" },
		"volume":      func(a *deployments.LaunchArgs) { a.VolumeGB = 2 },
	} {
		changed := args
		change(&changed)
		_, err := h.Launch(t.Context(), changed)
		wantKind(t, "another "+name, err, "conflict")
	}
	other := request(0)
	_, err := h.Launch(t.Context(), other)
	wantKind(t, "an address that is taken", err, "conflict")
}

func TestLaunchRefuses(t *testing.T) {
	h := newHost(t)
	for name, change := range map[string]func(*deployments.LaunchArgs){
		"instance":    func(a *deployments.LaunchArgs) { a.InstanceID = "../../etc" },
		"manager":     func(a *deployments.LaunchArgs) { a.Manager = "../fake" },
		"address":     func(a *deployments.LaunchArgs) { a.Address = "127.99.0.1" },
		"mount point": func(a *deployments.LaunchArgs) { a.MountPoint = "/var/../../../etc" },
		"port":        func(a *deployments.LaunchArgs) { a.Firewall.TCPPorts = []string{"http"} },
		"memory":      func(a *deployments.LaunchArgs) { a.MemoryMB = -1 },
	} {
		args := request(0)
		change(&args)
		_, err := h.Launch(t.Context(), args)
		wantKind(t, name, err, "invalid")
	}
	args := request(0)
	args.Manager = "absent"
	_, err := h.Launch(t.Context(), args)
	wantKind(t, "absent manager", err, "not_found")
	if err == nil || !strings.Contains(err.Error(), h.cfg.Guests) {
		t.Errorf("%v does not name the guest directory", err)
	}
	wantKind(t, "remove", h.Remove(t.Context(), deployments.RemoveArgs{InstanceID: ".."}), "invalid")
	if len(h.list()) > 0 {
		t.Error("a refused launch left an instance")
	}
}

// TestLaunchAfterRemove is what comes of a launch that waited behind others: it finds its instance removed, whether it was there or
// not, and whether the host was started anew meanwhile.
func TestLaunchAfterRemove(t *testing.T) {
	h := newHost(t)
	args := request(0)
	for _, h := range []*Host{h, again(t, h)} {
		if err := h.Remove(t.Context(), deployments.RemoveArgs{InstanceID: args.InstanceID}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := again(t, h).Launch(t.Context(), args)
	wantKind(t, "a launch after the remove", err, "conflict")
	if _, err := os.Stat(h.dir(args.InstanceID)); err == nil {
		t.Error("the instance has come back")
	}
}

func TestLaunchTogether(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			if _, err := h.Launch(t.Context(), request(n)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	users := make(map[int]bool)
	for _, inst := range h.list() {
		users[inst.uid] = true
	}
	if len(users) != 4 {
		t.Errorf("4 instances have users %v", users)
	}
}

func TestDirectoryInsteadOfVolume(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	args := request(0)
	args.VolumeGB = 0
	inst, reply := launch(t, h, args)
	if diff := cmp.Diff(deployments.LaunchReply{Volume: volumeDirectory}, reply); diff != "" {
		t.Errorf("reply (-want +got)\n%s", diff)
	}
	if mounted, err := isMounted(inst.mountPoint()); mounted || err != nil {
		t.Errorf("mounted: %v, %v", mounted, err)
	}
}
