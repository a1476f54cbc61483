package datastoretest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// Networks are those of servers that take whoever has an address of their machine for themselves: each has one of its own, as in a sandbox. They are for a
// test that is in an image and has a network of its own, see [InImageAlone], through which they reach each other.
type Networks struct{ dir string }

// NewNetworks makes room for them.
func NewNetworks(t testing.TB) *Networks {
	t.Helper()
	n := &Networks{dir: t.TempDir()}
	for dir := n.dir; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	return n
}

// Give gives a network and an address to the server of env.
func (n *Networks) Give(t testing.TB, env *datastores.Env) {
	t.Helper()
	holds := exec.Command("sleep", "infinity")
	holds.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := holds.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = holds.Process.Kill()
		_ = holds.Wait()
	})
	pid := holds.Process.Pid
	net := fmt.Sprintf("10.%d.%d.", env.UID>>8, env.UID&0xff)
	env.Address = net + "2"
	name := fmt.Sprintf("v%d", env.UID)
	onMachine(t, "ip", "-batch", "-", fmt.Sprintf("link add %s type veth peer name eth0 netns %d\naddr add %s1/30 dev %s\nlink set %s up\n", name, pid, net, name, name))
	onMachine(t, "nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", pid), "ip", "-batch", "-",
		fmt.Sprintf("link set lo up\naddr add %s/30 dev eth0\nlink set eth0 up\nroute add default via %s1\n", env.Address, net))
	if err := os.Symlink(fmt.Sprintf("/proc/%d/ns/net", pid), filepath.Join(n.dir, fmt.Sprint(env.UID))); err != nil {
		t.Fatal(err)
	}
}

// Program makes a program beside another one of the image that is the same in the network of the user who runs it.
func (n *Networks) Program(t testing.TB, program string) string {
	t.Helper()
	enter, err := os.ReadFile("/usr/bin/nsenter")
	if err != nil {
		t.Fatal(err)
	}
	inside := program + "-inside"
	script := fmt.Sprintf("#!/bin/sh\nuser=$(id -u)\nif [ $user = 0 ]; then exec %s \"$@\"; fi\nexec %s.enter --net=%s/$user --setuid=$user --setgid=$(id -g) %s \"$@\"\n", program, program, n.dir, program)
	for _, err := range []error{
		os.WriteFile(program+".enter", enter, 0o755),
		os.Chmod(program+".enter", 0o755|os.ModeSetuid), // nobody but root enters a network
		os.WriteFile(inside, []byte(script), 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return inside
}

// Cut has a server and the others not reach each other, while clients reach all, until it is healed.
func (n *Networks) Cut(t *testing.T, env datastores.Env, others []datastores.Env) (heal func()) {
	t.Helper()
	table := fmt.Sprintf("ip cut_%d", env.UID)
	var rules strings.Builder
	for _, other := range others {
		fmt.Fprintf(&rules, "ip saddr %s ip daddr %s drop\nip saddr %s ip daddr %s drop\n", env.Address, other.Address, other.Address, env.Address)
	}
	onMachine(t, "nft", "-f", "-", "table "+table+" {\nchain between {\ntype filter hook forward priority 0;\n"+rules.String()+"}\n}\n")
	heal = sync.OnceFunc(func() { onMachine(t, "nft", "-f", "-", "delete table "+table+"\n") })
	t.Cleanup(heal)
	return heal
}

// onMachine runs one of the machine's programs in the network of the test, with the last argument for its input.
func onMachine(t testing.TB, program string, args ...string) {
	t.Helper()
	last := len(args) - 1
	cmd := exec.Command("/usr/bin/env", append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", program}, args[:last]...)...)
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: fmt.Sprintf("/proc/%d/root", os.Getppid())}
	cmd.Stdin = strings.NewReader(args[last])
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s\n%s", program, err, out, args[last])
	}
}
