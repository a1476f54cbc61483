package gatewaytest_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// battle is a set of three hosts, under a control plane of three gateways and three members of etcd, to which things happen.
type battle struct {
	*registers
	plane  *plane
	chance *rand.Rand
}

// fault is something that happens to a battle until it is healed.
type fault struct {
	name  string
	begin func(b *battle, source int) (heal func())
}

// faults are all that can happen. Clocks are not among them: this machine has one.
func faults() []fault {
	return []fault{
		{"the source's machine loses its power", func(b *battle, source int) func() { return b.dark(source) }},
		{"a replica's machine loses its power", func(b *battle, source int) func() { return b.dark(b.other(source)) }},
		{"the source's server is killed", func(b *battle, source int) func() {
			return b.signal(b.server(source), syscall.SIGKILL, 0)
		}},
		{"the source's server stands still", func(b *battle, source int) func() {
			return b.signal(b.server(source), syscall.SIGSTOP, syscall.SIGCONT)
		}},
		{"the source's guest is killed", func(b *battle, source int) func() { return b.signal(b.guest(source), syscall.SIGKILL, 0) }},
		{"the source's guest stands still", func(b *battle, source int) func() {
			return b.signal(b.guest(source), syscall.SIGSTOP, syscall.SIGCONT)
		}},
		{"a replica's server stands still", func(b *battle, source int) func() {
			return b.signal(b.server(b.other(source)), syscall.SIGSTOP, syscall.SIGCONT)
		}},
		{"the source is cut off from the gateways", func(b *battle, source int) func() {
			return b.cut(source, "tcp sport 8779-8799 drop", "tcp dport 8779-8799 drop")
		}},
		{"the source is cut off from its replicas", func(b *battle, source int) func() {
			return b.cut(source, "ip saddr "+b.others(source)+" drop", "ip daddr "+b.others(source)+" drop")
		}},
		{"the source hears its replicas, which do not hear it", func(b *battle, source int) func() {
			return b.cut(source, "", "ip daddr "+b.others(source)+" drop")
		}},
		{"the replicas hear their source, which does not hear them", func(b *battle, source int) func() {
			return b.cut(source, "ip saddr "+b.others(source)+" drop", "")
		}},
		{"the source is cut off from all", func(b *battle, source int) func() {
			return b.cut(source, `iifname != "lo" drop`, `oifname != "lo" drop`)
		}},
		{"the source hears all, and nobody hears it", func(b *battle, source int) func() { return b.cut(source, "", `oifname != "lo" drop`) }},
		{"the source's disk is full", func(b *battle, source int) func() { return b.fill(source) }},
		{"a gateway is killed", func(b *battle, _ int) func() { return b.killed(b.plane.gateways[b.chance.IntN(3)]) }},
		{"a gateway stands still", func(b *battle, _ int) func() { return b.still(b.plane.gateways[b.chance.IntN(3)]) }},
		{"the leader of etcd is killed", func(b *battle, _ int) func() { return b.killed(b.plane.members[b.plane.leader(b.T)]) }},
		{"the leader of etcd stands still", func(b *battle, _ int) func() { return b.still(b.plane.members[b.plane.leader(b.T)]) }},
		{"all gateways are cut off from etcd", func(b *battle, source int) func() { return b.silenced(0, 1, 2) }},
		{"a gateway is cut off from etcd and the source's machine loses its power", func(b *battle, source int) func() {
			silenced, dark := b.silenced(b.chance.IntN(3)), b.dark(source)
			return func() { silenced(); dark() }
		}},
	}
}

// other is a member that is not the source.
func (b *battle) other(source int) int { return (source + 1 + b.chance.IntN(2)) % 3 }

// others are the addresses of a member's others, for nft.
func (b *battle) others(member int) string {
	return fmt.Sprintf("{ %s, %s }", b.logins[(member+1)%3].address, b.logins[(member+2)%3].address)
}

func (b *battle) server(member int) int { return b.machines[member].serverPID(b.ids[member]) }

func (b *battle) guest(member int) int { return b.machines[member].guests()[b.ids[member]] }

func (b *battle) dark(member int) (heal func()) {
	b.cutPower(member)
	return func() { b.powerOn(member) }
}

// signal sends one now, and another to heal, if that is not 0.
func (b *battle) signal(pid int, now, later syscall.Signal) (heal func()) {
	if pid == 0 {
		b.Fatal("there is no process to send a signal to")
	}
	if err := syscall.Kill(pid, now); err != nil {
		b.Fatal(err)
	}
	if later == 0 {
		return func() {}
	}
	heal = func() { _ = syscall.Kill(pid, later) } // it may have been killed since
	b.Cleanup(heal)
	return heal
}

func (b *battle) killed(u *unit) (heal func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.process.Kill()
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		var err error
		if u.process, err = u.start(); err != nil {
			b.Fatal(err)
		}
	}
}

func (b *battle) still(u *unit) (heal func()) {
	return b.signal(u.process.PID(), syscall.SIGSTOP, syscall.SIGCONT)
}

func (b *battle) silenced(gateways ...int) (heal func()) {
	for _, g := range gateways {
		for _, link := range b.plane.links[g] {
			link.Silence()
		}
	}
	return func() {
		for _, g := range gateways {
			for _, link := range b.plane.links[g] {
				link.Flow()
			}
		}
	}
}

// cut drops what the rules say of what comes in to a member's sandbox and goes out of it.
func (b *battle) cut(member int, in, out string) (heal func()) {
	spaces, err := filepath.Glob("/run/netns/coffer-" + b.ids[member] + "*") // the host's mark follows
	if err != nil || len(spaces) != 1 {
		b.Fatalf("the network of member %d: %q, %v", member, spaces, err)
	}
	nft := func(script string) error {
		cmd := exec.Command("ip", "netns", "exec", filepath.Base(spaces[0]), "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(script)
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w: %s", err, text)
		}
		return nil
	}
	chain := func(name, rules string) string {
		return fmt.Sprintf("chain %s {\ntype filter hook %s priority -10;\n%s\n}\n", name, name, rules)
	}
	if err := nft("table inet cut {\n" + chain("input", in) + chain("output", out) + "}\n"); err != nil {
		b.Fatal(err)
	}
	return func() {
		if err := nft("delete table inet cut"); err != nil {
			b.Log(err) // the sandbox may have been made anew, without it
		}
	}
}

// fill leaves no byte on the volume of a member.
func (b *battle) fill(member int) (heal func()) {
	var volume string
	for _, mount := range b.machines[member].mounts() {
		if strings.Contains(mount, b.ids[member]) && !strings.Contains(mount, "sandbox") {
			volume = mount
		}
	}
	name := filepath.Join(volume, "filled")
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	var size int64
	for part := int64(256 << 20); part >= 4096; part /= 2 {
		for syscall.Fallocate(int(file.Fd()), 0, size, part) == nil {
			size += part
		}
	}
	return func() {
		if err := os.Remove(name); err != nil {
			b.Fatal(err)
		}
	}
}
