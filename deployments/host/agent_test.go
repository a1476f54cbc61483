package host

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/agentpoll/agentpolltest"
	"github.com/cofferdb/coffer/deployments"
)

// TestHostIsKilled runs the program itself against a gateway: it launches, is killed, is started again, finds its guest,
// tells of a new guest binary, and removes.
func TestHostIsKilled(t *testing.T) {
	needRoot(t)
	h := newHost(t) // another view of the same instances
	gateway := agentpolltest.NewServer(t)
	token, id := gateway.Token(nil)
	bin := t.TempDir()
	link(t, bin, "coffer-host")
	start := func() (kill func()) {
		cmd := exec.Command(filepath.Join(bin, "coffer-host"), "-gateways", gateway.URL, "-allow-http", "-dir", h.cfg.Dir,
			"-driver", driverProcess, "-guests", h.cfg.Guests, "-address-pool", h.cfg.Pool, "-uids", h.cfg.UIDs.String(), "-name", "killed", "-memory", "4096")
		cmd.Env = append(os.Environ(), "COFFER_HOST_TOKEN="+token, "COFFER_HOST_FIREWALL_TABLE="+h.cfg.FirewallTable)
		cmd.Stderr = t.Output()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
		t.Cleanup(kill)
		return kill
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	call := func(method string, args, reply any) {
		t.Helper()
		raw, _ := json.Marshal(args)
		command := gateway.Enqueue(id, agentpoll.Command{Method: method, Args: raw})
		result, err := gateway.WaitResult(ctx, command)
		if err != nil || result.Error != nil {
			t.Fatalf("%s: %v, %v", method, err, result.Error)
		}
		if reply != nil {
			if err := json.Unmarshal(result.Value, reply); err != nil {
				t.Fatal(err)
			}
		}
	}

	kill := start()
	args := request(0)
	var reply deployments.LaunchReply
	call(deployments.MethodLaunch, args, &reply)
	if reply.Volume != volumeLoop || len(reply.Notes) > 0 {
		t.Errorf("launch replied %+v", reply)
	}
	var told deployments.Announcement
	if err := json.Unmarshal(gateway.Enrolled(id).Manifest, &told); err != nil {
		t.Fatal(err)
	}
	if told.Name != "killed" || told.Driver != driverProcess || told.Capacity.MemoryMB != 4096 || told.Pool != h.pool || len(told.Managers) != 1 || told.Inventory == "" {
		t.Errorf("it announced %+v", told)
	}

	h = again(t, h)
	inst := h.find(args.InstanceID)
	guest, db := guestPID(inst), database(t, inst)
	kill()
	link(t, h.cfg.Guests, "new-guest")
	statuses, err := gateway.WaitStatuses(ctx, id, 0)
	if err != nil {
		t.Fatal(err)
	}
	kill = start()
	statuses, err = gateway.WaitStatuses(ctx, id, len(statuses)+1)
	if last := statuses[len(statuses)-1]; err != nil || !bytes.Contains(last, []byte(`"new"`)) {
		t.Errorf("%v; the status does not tell of the new guest: %s", err, last)
	}
	call(deployments.MethodLaunch, args, nil)
	if guestPID(inst) != guest || database(t, inst) != db {
		t.Error("the second host started what ran already")
	}
	call(deployments.MethodRemove, deployments.RemoveArgs{InstanceID: inst.id}, nil)
	kill()
	remove(t, h, inst.id) // finds nothing to remove
}

func TestVersion(t *testing.T) {
	var out strings.Builder
	if status := Main(t.Context(), []string{"version"}, os.Getenv, &out, t.Output()); status != 0 || !strings.HasPrefix(out.String(), "coffer-host ") {
		t.Errorf("status %d, %q", status, out.String())
	}
	if status := Main(t.Context(), []string{"-dir", "relative"}, os.Getenv, &out, t.Output()); status != 2 {
		t.Errorf("status %d for a wrong flag", status)
	}
}

// BenchmarkLaunch is what a host adds to a create: everything up to the start of the guest.
func BenchmarkLaunch(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	h := newHost(b)
	for b.Loop() {
		args := request(0)
		launch(b, h, args)
		b.StopTimer()
		remove(b, h, args.InstanceID)
		b.StartTimer()
	}
}
