package sandbox

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestSpec holds what a sandbox may do against what it is known to need. Whoever makes a list longer says here why.
func TestSpec(t *testing.T) {
	s := &Sandbox{
		ID: "id", Dir: "/host/id", State: "/run/x", Init: "/host/coffer-host", Guest: []string{"/opt/coffer/etc/a-guest"}, FirstID: 1 << 20,
		Network: "/run/netns/n", Cgroup: "/coffer/id",
		Binds: []Bind{{Source: "/host/guest", Target: GuestPath, Writable: true}},
	}
	spec, err := s.spec()
	if err != nil {
		t.Fatal(err)
	}
	// Each is needed to make files another user's, or to become that user; none reaches beyond the ids of the sandbox.
	want := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"}
	c := spec.Process.Capabilities
	t.Logf("capabilities: %v", c.Bounding)
	for name, got := range map[string][]string{"bounding": c.Bounding, "effective": c.Effective, "permitted": c.Permitted} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s capabilities (-want +got)\n%s", name, diff)
		}
	}
	if len(c.Ambient) > 0 || len(c.Inheritable) > 0 || !spec.Process.NoNewPrivileges || !spec.Root.Readonly || spec.Linux.Seccomp == nil {
		t.Error("more than those may be had")
	}
	if a := spec.Linux.Seccomp.Architectures; len(a) != 1 {
		t.Errorf("system calls of the architectures %v are let through, not of the machine's own alone", a)
	}
	var kinds []string
	for _, n := range spec.Linux.Namespaces {
		kinds = append(kinds, string(n.Type))
	}
	slices.Sort(kinds)
	if diff := cmp.Diff([]string{"cgroup", "ipc", "mount", "network", "pid", "user", "uts"}, kinds); diff != "" {
		t.Errorf("namespaces (-want +got)\n%s", diff)
	}
	for _, ids := range [][]specs.LinuxIDMapping{spec.Linux.UIDMappings, spec.Linux.GIDMappings} {
		if diff := cmp.Diff([]specs.LinuxIDMapping{{ContainerID: 0, HostID: 1 << 20, Size: Size}}, ids); diff != "" {
			t.Errorf("ids (-want +got)\n%s", diff)
		}
	}
	var writable []string
	for _, m := range spec.Mounts {
		if !slices.Contains(m.Options, "nosuid") {
			t.Errorf("%s: a program there may be another user's", m.Destination)
		}
		if !slices.Contains(m.Options, "rro") {
			writable = append(writable, fmt.Sprint(m.Type, " ", m.Destination))
		}
	}
	slices.Sort(writable)
	if diff := cmp.Diff([]string{
		"bind " + GuestPath, "devpts /dev/pts", "proc /proc", "tmpfs /dev", "tmpfs /dev/shm", "tmpfs /run", "tmpfs /tmp",
	}, writable); diff != "" {
		t.Errorf("what is not read-only (-want +got)\n%s", diff)
	}
}
