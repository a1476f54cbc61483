package gatewaytest_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/datastoretest"
	"github.com/cofferdb/coffer/gateway/gatewaytest"
)

// TestGuestBinariesOfAnOperator puts three guest binaries in the place of one that runs, while a client writes: a bad one that is signed, a
// good one that is not, and a good one that is. Only the last stays, and the client gets no error.
func TestGuestBinariesOfAnOperator(t *testing.T) {
	datastoretest.Require(t, "/usr/bin/redis-server", "redis-server")
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root has sandboxes")
	}
	p := programs(t)
	o := &signer{machine: newMachine(t), programs: p}
	public := strings.Fields(o.coffer(t, "guest", "key", o.path("signing.key")))
	good, err := os.ReadFile(p.Path("guests/redis-guest"))
	if err != nil {
		t.Fatal(err)
	}
	o.put(t, good, true)
	gateway, url := p.Run(t, "serving", "coffer-gateway", "-insecure-http", "-listen", o.address(1, 8779),
		"-data-dir", o.path("gateway"), "-identity", "none", "-tokens-file", gatewaytest.TokensFile(t))
	p.PutDefinitions(t, gateway.Printed("etcd"))
	hostID := o.enrol(t, url)
	p.Run(t, "", "coffer-host", append(o.hostArgs(p, url), "-guests", o.path("guests"), "-guest-key", public[len(public)-1])...)
	member := gatewaytest.Client{URL: url, Token: gatewaytest.Member, Project: gatewaytest.Project}
	admin := member
	admin.Token = gatewaytest.Admin
	admin.AwaitHost(t, hostID)
	says := func(what string) func() bool {
		return func() bool {
			return strings.Contains(string(admin.Want(t, http.StatusOK, http.MethodGet, "/mgmt/hosts", "").Body), what)
		}
	}

	id := tenant{member}.create(t, "written", redisStore, "")
	o.instances = append(o.instances, id)
	address := member.Await(t, id, "ACTIVE", patience).Text("instance", "ip", 0)
	root := member.Want(t, http.StatusOK, http.MethodPost, gatewaytest.Instance(id)+"/root", "")
	conn := openRedis(t, address, root.Text("user", "password")).Conn()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	written, ended := 0, make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if err := conn.Incr(context.Background(), "written").Err(); err != nil {
				ended <- err
				return
			}
			written++
		}
		ended <- nil
	}()

	first := o.runs(id)
	if first != digest(good) {
		t.Errorf("the guest that runs has digest %q", first)
	}
	bad := []byte("#!/bin/sh\n[ $1 != describe ] || exec echo '{\"manager\": \"redis\"}'\nexit 1\n")
	o.put(t, bad, true)
	until.True(t, patience, "the host says that the bad one did not stay", says("did not stay in 1 instances"))
	until.True(t, patience, "the former one is back", func() bool { return o.runs(id) == first })

	pid := o.guests()[id]
	o.put(t, append(good, "unsigned"...), false)
	until.True(t, patience, "the host says that the next one is not signed", says("is not signed"))
	if now := o.guests()[id]; now != pid || o.runs(id) != first {
		t.Errorf("the guest was process %d and is %d, of digest %s", pid, now, o.runs(id))
	}

	next := append(good, "signed"...)
	o.put(t, next, true)
	until.True(t, patience, "the good one runs", func() bool { return o.runs(id) == digest(next) })
	member.Want(t, http.StatusOK, http.MethodGet, gatewaytest.Instance(id)+"/users", "") // it is asked, and answers
	until.True(t, patience, "the host complains no more", func() bool { return !says("did not stay")() && !says("not signed")() })
	stop()
	if err := <-ended; err != nil || written == 0 {
		t.Errorf("the client wrote %d times and got: %v", written, err)
	}
	member.Want(t, http.StatusAccepted, http.MethodDelete, gatewaytest.Instance(id), "")
	member.AwaitGone(t, id, patience)
}

// signer is an operator who signs guest binaries.
type signer struct {
	*machine
	programs gatewaytest.Programs
}

// put puts a guest binary into the host's directory, its signature first; without one the former's goes.
func (o *signer) put(t *testing.T, binary []byte, signed bool) {
	t.Helper()
	next, at := o.path("next/redis-guest"), o.path("guests/redis-guest")
	for _, dir := range []string{filepath.Dir(next), filepath.Dir(at)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(next, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	if signed {
		o.coffer(t, "guest", "sign", "--key-file", o.path("signing.key"), next)
		if err := os.Rename(next+".sig", at+".sig"); err != nil {
			t.Fatal(err)
		}
	} else if err := os.Remove(at + ".sig"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, at); err != nil {
		t.Fatal(err)
	}
}

func (o *signer) coffer(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(o.programs.Path("coffer"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("coffer %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// runs is the digest of the guest binary that an instance's sandbox runs; "" while none does.
func (o *signer) runs(id string) string {
	exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", o.guests()[id]))
	return filepath.Base(filepath.Dir(exe))
}

func digest(binary []byte) string {
	sum := sha256.Sum256(binary)
	return hex.EncodeToString(sum[:])
}

// TestToolsAreNoGuests has a guest about to run a tool: who kills guests must not take that for one, and spare the guest.
func TestToolsAreNoGuests(t *testing.T) {
	m := newMachine(t)
	const id = "01a22760-462d-78a7-8cc1-a8ee65a35b75"
	dir := m.path(id)
	for _, err := range []error{
		os.Mkdir(dir, 0o700),
		os.WriteFile(filepath.Join(dir, "run"), []byte("exec 3<&0; (echo forked; read line <&3) & read line\n"), 0o600), // a shell forks and runs nothing
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	guest := exec.Cmd{Path: "/bin/sh", Args: []string{filepath.Join(dir, "fake-guest"), "run"}, Dir: dir}
	stdin, err := guest.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := guest.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := guest.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stdin.Close()
		_ = guest.Wait()
	}()
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil {
		t.Fatal(line, err)
	}
	if n := len(m.processes()); n != 2 {
		t.Errorf("there are %d processes of the guest's command line, want 2", n)
	}
	if got := m.guests(); len(got) != 1 || got[id] != guest.Process.Pid {
		t.Errorf("the guests are %v, want %d", got, guest.Process.Pid)
	}
}
