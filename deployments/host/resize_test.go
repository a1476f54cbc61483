package host

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/deployments"
)

func resize(t testing.TB, h *Host, args deployments.ResizeArgs) deployments.ResizeReply {
	t.Helper()
	reply, err := h.Resize(t.Context(), args)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// wantVolume checks the size in GB of the filesystem, the file and the record, and that the data is there.
func wantVolume(t testing.TB, inst *instance, sizeGB int, mark string) {
	t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(inst.mountPoint(), &fs); err != nil {
		t.Fatal(err)
	}
	whole := int64(sizeGB) << 30
	if size := int64(fs.Blocks) * fs.Bsize; size > whole || size < whole*9/10 {
		t.Errorf("the filesystem has %d MB, want almost %d GB", size>>20, sizeGB)
	}
	if info, err := os.Stat(inst.path(volumeImage)); err != nil || info.Size() != whole {
		t.Errorf("the file has %v bytes (%v), want %d", info.Size(), err, whole)
	}
	var rec record
	if err := json.Unmarshal([]byte(read(t, inst.path(stateFile))), &rec); err != nil {
		t.Fatal(err)
	}
	if rec.Launch.VolumeGB != sizeGB || rec.Growing != 0 {
		t.Errorf("the record has %d GB, growing to %d, want %d", rec.Launch.VolumeGB, rec.Growing, sizeGB)
	}
	if mark != "" && read(t, mark) != "still here" {
		t.Errorf("%s is %q", mark, read(t, mark))
	}
}

// marked is an instance with something on its volume.
func marked(t testing.TB, h *Host) (inst *instance, mark string) {
	t.Helper()
	inst, _ = launch(t, h, request(0))
	mark = filepath.Join(inst.mountPoint(), "mark")
	if err := os.WriteFile(mark, []byte("still here"), 0o600); err != nil {
		t.Fatal(err)
	}
	return inst, mark
}

func TestResizeMemory(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	inst, _ := launch(t, h, request(0))
	guest, db := guestPID(inst), database(t, inst)
	args := deployments.ResizeArgs{InstanceID: inst.id, MemoryMB: 128, VCPUs: 2}
	if reply := resize(t, h, args); reply.StopFirst || len(reply.Notes) > 0 {
		t.Errorf("reply %+v", reply)
	}
	for _, c := range h.cgroups {
		file, want := c.limit(128, 2)
		if got := strings.TrimSpace(read(t, filepath.Join(c.group(inst.name()), file))); got != want {
			t.Errorf("%s is %s, want %s", file, got, want)
		}
	}
	var config datastores.GuestConfig
	if err := json.Unmarshal([]byte(read(t, inst.path(configFile))), &config); err != nil {
		t.Fatal(err)
	}
	if config.MemoryMB != 128 || config.Token.Reveal() != "token-1" {
		t.Errorf("the guest is told of %d MB and has the token: %t", config.MemoryMB, config.Token.Reveal() == "token-1")
	}
	next := guestPID(inst)
	if next == guest || next == 0 {
		t.Errorf("the guest was process %d and is %d", guest, next)
	}
	resize(t, h, args)
	resize(t, h, deployments.ResizeArgs{InstanceID: inst.id, VCPUs: 1})
	if got := guestPID(inst); got != next {
		t.Error("the guest was started anew for nothing")
	}
	if database(t, inst) != db {
		t.Error("the database was touched")
	}
	known := again(t, h).find(inst.id).rec.Launch
	if known.MemoryMB != 128 || known.VCPUs != 1 || known.VolumeGB != 1 {
		t.Errorf("the record says %+v", known)
	}
}

// TestResizeBelowWhatIsUsed: the limit that cannot be had yet is given once it can.
func TestResizeBelowWhatIsUsed(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	i := cgroupIndex(h, "memory")
	if i < 0 {
		t.Skip("NOT TESTED: this kernel gives no memory controller")
	}
	inst, _ := launch(t, h, request(0))
	database(t, inst)
	group := h.cgroups[i].group(inst.name())
	hog := exec.Command("/bin/sh", "-c", `echo $$ >"$1/cgroup.procs"; x=$(head -c 60000000 /dev/zero | tr '\0' x); echo ready; read y`, "sh", group)
	stdin, err := hog.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := hog.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := hog.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hog.Process.Kill(); _ = hog.Wait() })
	if _, err := stdout.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	reply := resize(t, h, deployments.ResizeArgs{InstanceID: inst.id, MemoryMB: 16})
	if text := strings.Join(reply.Notes, "; "); !strings.Contains(text, "memory") || !inst.unmet {
		t.Errorf("nothing says that the limit could not be had: %q", text)
	}
	_ = stdin.Close()
	_ = hog.Wait()
	supervised(t, h)
	file, want := h.cgroups[i].limit(16, 1)
	eventually(t, "the limit is what was asked for", func() bool {
		return strings.TrimSpace(read(t, filepath.Join(group, file))) == want
	})
}

func cgroupIndex(h *Host, name string) int {
	for i, c := range h.cgroups {
		if c.name == name {
			return i
		}
	}
	return -1
}

// TestResizeVolume grows a volume as the gateway does: while the database runs, and when that is refused once it is stopped.
func TestResizeVolume(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	inst, mark := marked(t, h)
	args := deployments.ResizeArgs{InstanceID: inst.id, VolumeGB: 2, MemoryMB: 128}
	reply := resize(t, h, args)
	if !reply.StopFirst {
		t.Log("this kernel grows volumes that are mounted")
		wantVolume(t, inst, 2, mark)
		return
	}
	t.Logf("refused while the database server runs: %q", reply.Notes)
	wantVolume(t, inst, 1, mark)
	if inst.rec.Launch.MemoryMB != 256 || !strings.Contains(read(t, inst.path(configFile)), `"memory_mb": 256`) {
		t.Error("the memory was changed although the volume has to wait")
	}

	args.Stopped = true
	f, err := os.Open(mark)
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Resize(t.Context(), args)
	wantKind(t, "a volume in use", err, "conflict")
	wantVolume(t, inst, 1, mark)
	_ = f.Close()

	db := database(t, inst)
	for range 2 {
		if reply := resize(t, h, args); reply.StopFirst || len(reply.Notes) > 0 {
			t.Errorf("reply %+v", reply)
		}
		wantVolume(t, inst, 2, mark)
	}
	if info, err := os.Stat(inst.mountPoint()); err != nil || info.Mode().Perm() != 0o700 || int(info.Sys().(*syscall.Stat_t).Uid) != inst.uid {
		t.Errorf("the volume is %v: %v", info.Mode(), err)
	}
	if database(t, inst) != db || inst.rec.Launch.MemoryMB != 128 {
		t.Error("the database was started anew, or the memory is not changed")
	}
	next := request(0)
	next.InstanceID, next.VolumeGB, next.MemoryMB = inst.id, 2, 128
	launch(t, h, next)
}

// TestResizeCut begins with every state that a killed host can leave behind: the next one mounts what is there, and the
// repeated command ends in the same state.
func TestResizeCut(t *testing.T) {
	needRoot(t)
	const want = 2
	grow := func(t *testing.T, inst *instance) {
		if err := growImage(t.Context(), inst.path(volumeImage), want); err != nil {
			t.Fatal(err)
		}
	}
	truncate := func(t *testing.T, inst *instance) {
		if err := os.Truncate(inst.path(volumeImage), want<<30); err != nil {
			t.Fatal(err)
		}
	}
	for name, leave := range map[string]func(*testing.T, *instance){
		"unmounted":                         func(*testing.T, *instance) {},
		"recorded":                          func(_ *testing.T, inst *instance) { inst.rec.Growing = want },
		"truncated":                         func(t *testing.T, inst *instance) { inst.rec.Growing = want; truncate(t, inst) },
		"grown":                             func(t *testing.T, inst *instance) { inst.rec.Growing = want; grow(t, inst) },
		"grown while mounted, not recorded": func(t *testing.T, inst *instance) { grow(t, inst) },
		"not grown while mounted":           truncate,
		"finished":                          func(t *testing.T, inst *instance) { inst.rec.Launch.VolumeGB = want; grow(t, inst) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			inst, mark := marked(t, h)
			if err := inst.release(); err != nil {
				t.Fatal(err)
			}
			leave(t, inst)
			if err := inst.save(); err != nil {
				t.Fatal(err)
			}
			next := again(t, h)
			known := next.find(inst.id)
			if err := next.recover(t.Context(), known); err != nil {
				t.Fatal(err)
			}
			if got := read(t, mark); got != "still here" {
				t.Errorf("after the recovery the volume holds %q", got)
			}
			resize(t, next, deployments.ResizeArgs{InstanceID: inst.id, VolumeGB: want, Stopped: true})
			wantVolume(t, known, want, mark)
		})
	}
}

// TestResizeHostIsKilled kills the program itself at moments of a resize.
func TestResizeHostIsKilled(t *testing.T) {
	needRoot(t)
	h := newHost(t) // another view of the same instances
	gateway := agentpolltest.NewServer(t)
	token, id := gateway.Token(nil)
	bin := t.TempDir()
	link(t, bin, "coffer-host")
	start := func() (kill func()) {
		cmd := exec.Command(filepath.Join(bin, "coffer-host"), "-gateways", gateway.URL, "-allow-http", "-dir", h.cfg.Dir,
			"-driver", driverProcess, "-guests", h.cfg.Guests, "-address-pool", h.cfg.Pool, "-uids", h.cfg.UIDs.String(), "-name", "killed")
		cmd.Env = append(os.Environ(), "COFFER_HOST_TOKEN="+token, "COFFER_HOST_FIREWALL_TABLE="+h.cfg.FirewallTable)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
		t.Cleanup(kill)
		return kill
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	wait := func(command string) {
		t.Helper()
		result, err := gateway.WaitResult(ctx, command)
		if err != nil || result.Error != nil {
			t.Fatalf("%v, %v", err, result.Error)
		}
	}
	enqueue := func(method string, args any) string {
		raw, _ := json.Marshal(args)
		return gateway.Enqueue(id, agentpoll.Command{Method: method, Args: raw})
	}
	kill := start()
	args := request(0)
	wait(enqueue(deployments.MethodLaunch, args))
	mark := filepath.Join(again(t, h).find(args.InstanceID).mountPoint(), "mark")
	if err := os.WriteFile(mark, []byte("still here"), 0o600); err != nil {
		t.Fatal(err)
	}
	for n, after := range []time.Duration{2, 8, 15, 25, 40, 60} {
		command := enqueue(deployments.MethodResize, deployments.ResizeArgs{InstanceID: args.InstanceID, VolumeGB: n + 2, Stopped: true})
		until.Passed(after * time.Millisecond) // a moment to be killed at; every one must do
		kill()
		kill = start()
		wait(command)
		wantVolume(t, again(t, h).find(args.InstanceID), n+2, mark)
	}
	wait(enqueue(deployments.MethodRemove, deployments.RemoveArgs{InstanceID: args.InstanceID}))
}

// TestResizeToolOutlivesHost: what a killed host's resize2fs works on must not be mounted.
func TestResizeToolOutlivesHost(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	inst, mark := marked(t, h)
	if err := inst.release(); err != nil {
		t.Fatal(err)
	}
	image, err := lockImage(t.Context(), inst.path(volumeImage))
	if err != nil {
		t.Fatal(err)
	}
	tool := exec.Command("/bin/sleep", "60")
	tool.Stdin = image
	if err := tool.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tool.Process.Kill(); _ = tool.Wait() })
	_ = image.Close()
	next := again(t, h)
	known := next.find(inst.id)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := next.recover(ctx, known); err == nil || !strings.Contains(err.Error(), "works on") {
		t.Errorf("recovery: %v", err)
	}
	if mounted, err := isMounted(inst.mountPoint()); mounted || err != nil {
		t.Fatalf("mounted: %v, %v", mounted, err)
	}
	_ = tool.Process.Kill()
	_ = tool.Wait()
	if err := next.recover(t.Context(), known); err != nil {
		t.Fatal(err)
	}
	wantVolume(t, known, 1, mark)
}

// TestResizeOfAVolumeThatIsHeld: on a busy machine a forked process has the file for a while; one that does not give it back
// leaves the volume as it was. What is not mounted all the same is mounted at the next look.
func TestResizeOfAVolumeThatIsHeld(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	inst, mark := marked(t, h)
	hold := func(seconds string) *exec.Cmd {
		f, err := os.OpenFile(inst.path(volumeImage), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		tool := exec.Command("/bin/sleep", seconds)
		tool.Stdin = f
		if err := tool.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tool.Process.Kill(); _ = tool.Wait() })
		return tool
	}
	args := deployments.ResizeArgs{InstanceID: inst.id, VolumeGB: 2, Stopped: true}
	hold("1")
	resize(t, h, args)
	wantVolume(t, inst, 2, mark)

	tool := hold("600")
	args.VolumeGB = 3
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := h.Resize(ctx, args); err == nil {
		t.Error("a volume that another program works on was resized")
	}
	if inst.rec.Growing != 0 {
		t.Errorf("a resize that never began is recorded: growing to %d", inst.rec.Growing)
	}
	_ = tool.Process.Kill()
	_ = tool.Wait()
	if err := h.look(t.Context(), inst); err != nil {
		t.Fatal(err)
	}
	wantVolume(t, inst, 2, mark)
}

// TestResizeBroken: a filesystem that e2fsck cannot put in order is neither grown nor mounted.
func TestResizeBroken(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	inst, _ := marked(t, h)
	if err := inst.release(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(inst.path(volumeImage), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{1024, 32768 * 4096} { // superblock and its first copy
		if _, err := f.WriteAt(make([]byte, 4096), at); err != nil {
			t.Fatal(err)
		}
	}
	_ = f.Close()
	if _, err := h.Resize(t.Context(), deployments.ResizeArgs{InstanceID: inst.id, VolumeGB: 2, Stopped: true}); err == nil || !strings.Contains(err.Error(), "e2fsck") {
		t.Errorf("a broken filesystem: %v", err)
	}
	if mounted, _ := isMounted(inst.mountPoint()); mounted || inst.rec.Launch.VolumeGB != 1 {
		t.Errorf("mounted: %v; %d GB", mounted, inst.rec.Launch.VolumeGB)
	}
}

func TestResizeDirectory(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	args := request(0)
	args.VolumeGB = 0
	inst, _ := launch(t, h, args)
	reply := resize(t, h, deployments.ResizeArgs{InstanceID: inst.id, VolumeGB: 5})
	want := deployments.ResizeReply{Notes: []string{"the volume is a plain directory without a limit: it was made without a size"}}
	if diff := cmp.Diff(want, reply); diff != "" || again(t, h).find(inst.id).rec.Launch.VolumeGB != 5 {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestResizeRefuses(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	args := request(0)
	args.VolumeGB = 2
	inst, _ := launch(t, h, args)
	for name, test := range map[string]struct {
		args deployments.ResizeArgs
		kind agentpoll.ErrorKind
	}{
		"smaller volume": {deployments.ResizeArgs{InstanceID: inst.id, VolumeGB: 1, Stopped: true}, agentpoll.Invalid},
		"negative":       {deployments.ResizeArgs{InstanceID: inst.id, MemoryMB: -1}, agentpoll.Invalid},
		"no id":          {deployments.ResizeArgs{InstanceID: ".."}, agentpoll.Invalid},
		"unknown":        {deployments.ResizeArgs{InstanceID: request(1).InstanceID}, agentpoll.NotFound},
	} {
		_, err := h.Resize(t.Context(), test.args)
		wantKind(t, name, err, test.kind)
	}
	inst.rec.Removing = true
	_, err := h.Resize(t.Context(), deployments.ResizeArgs{InstanceID: inst.id, MemoryMB: 1})
	wantKind(t, "being removed", err, agentpoll.Conflict)
}
