package clustertest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cofferdb/coffer/datastores"
)

// CutBy is a [Harness.Cut] of servers whose members speak to each other at peerPorts, at which no client comes. The kernel drops what a server sends from
// and to these, and what it and the others send to each other's addresses. It is nil where nothing can be cut: that takes root and nft.
func CutBy(peerPorts ...int) func(*testing.T, datastores.Env, []datastores.Env) (heal func()) {
	const program = "/usr/sbin/nft"
	root := "/"
	if _, err := os.Stat(program); err != nil { // in an image, which the machine's process has made
		root = fmt.Sprintf("/proc/%d/root", os.Getppid())
	}
	nft := func(script string) error {
		cmd := exec.Command(program, "-f", "-")
		cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: root}
		cmd.Stdin = strings.NewReader(script)
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("nft: %w: %s", err, out)
		}
		return err
	}
	if os.Geteuid() != 0 || nft("list tables") != nil {
		return nil
	}
	return func(t *testing.T, env datastores.Env, others []datastores.Env) (heal func()) {
		t.Helper()
		table := fmt.Sprintf("inet coffer_test_cut_%d", env.UID)
		var rules strings.Builder
		for _, port := range peerPorts {
			fmt.Fprintf(&rules, "meta skuid %d tcp sport %d drop\nmeta skuid %d tcp dport %d drop\n", env.UID, port, env.UID, port)
		}
		for _, other := range others {
			fmt.Fprintf(&rules, "meta skuid %d ip daddr %s drop\nmeta skuid %d ip daddr %s drop\n", env.UID, other.Address, other.UID, env.Address)
		}
		if err := nft("table " + table + " {\nchain out {\ntype filter hook output priority 0;\n" + rules.String() + "}\n}\n"); err != nil {
			t.Fatal(err)
		}
		heal = sync.OnceFunc(func() {
			if err := nft("delete table " + table); err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(heal)
		return heal
	}
}
