package host

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDetectCgroups(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "full", "cgroup.controllers"), "cpuset cpu io memory pids\n")
	write(t, filepath.Join(dir, "empty", "cgroup.controllers"), "")
	v1 := func(name, controllers string) string {
		return fmt.Sprintf("32 31 0:29 / %s rw,relatime shared:9 - cgroup cgroup rw,%s\n", filepath.Join(dir, name), controllers)
	}
	v2 := func(name string) string {
		return fmt.Sprintf("41 31 0:38 / %s rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n", filepath.Join(dir, name))
	}
	noise := "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,memory\n22 27 0:21 / /proc rw - proc proc rw\nrubbish\n"
	for name, test := range map[string]struct {
		mountinfo string
		want      cgroups
		notes     int
	}{
		"nothing":      {noise, nil, 2},
		"v1":           {noise + v1("cpu", "cpu,cpuacct") + v1("mem", "memory"), cgroups{{"cpu", dir + "/cpu", false}, {"memory", dir + "/mem", false}}, 0},
		"v1 memory":    {v1("set", "cpuset") + v1("mem", "memory"), cgroups{{"memory", dir + "/mem", false}}, 1},
		"v2":           {noise + v2("full"), cgroups{{"memory", dir + "/full", true}, {"cpu", dir + "/full", true}}, 0},
		"hybrid":       {v1("cpu", "cpu") + v1("mem", "memory") + v2("empty"), cgroups{{"cpu", dir + "/cpu", false}, {"memory", dir + "/mem", false}}, 0},
		"v2 but empty": {v2("empty"), nil, 2},
	} {
		got := detectCgroups(test.mountinfo)
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(controller{})); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
		if notes := got.notes(); len(notes) != test.notes {
			t.Errorf("%s: notes %q, want %d", name, notes, test.notes)
		}
	}
}

func TestLimit(t *testing.T) {
	for _, test := range []struct {
		c             controller
		memory, vcpus int
		want          string
	}{
		{controller{name: "memory"}, 1024, 1, "memory.limit_in_bytes=1207959552"},
		{controller{name: "memory"}, 0, 1, "memory.limit_in_bytes=-1"},
		{controller{name: "cpu"}, 1024, 2, "cpu.cfs_quota_us=200000"},
		{controller{name: "cpu"}, 1024, 0, "cpu.cfs_quota_us=-1"},
		{controller{name: "memory", v2: true}, 1024, 1, "memory.max=1207959552"},
		{controller{name: "memory", v2: true}, 0, 1, "memory.max=max"},
		{controller{name: "cpu", v2: true}, 1024, 2, "cpu.max=200000 100000"},
		{controller{name: "cpu", v2: true}, 1024, 0, "cpu.max=max 100000"},
	} {
		file, value := test.c.limit(test.memory, test.vcpus)
		if got := file + "=" + value; got != test.want {
			t.Errorf("%v with %d MB, %d vcpus: %s, want %s", test.c, test.memory, test.vcpus, got, test.want)
		}
	}
}

// TestCreateV2 uses a directory that looks like a version 2 hierarchy; the kernel makes the files of a real group.
func TestCreateV2(t *testing.T) {
	mount := t.TempDir()
	group := filepath.Join(mount, groupParent, "one")
	for _, file := range []string{"cgroup.subtree_control", "coffer/cgroup.subtree_control", "coffer/one/memory.max", "coffer/one/cpu.max"} {
		write(t, filepath.Join(mount, file), "")
	}
	cs := cgroups{{"memory", mount, true}, {"cpu", mount, true}}
	dirs, notes := cs.create("one", 512, 1)
	if diff := cmp.Diff([]string{group}, dirs); diff != "" || len(notes) > 0 {
		t.Errorf("notes %q, dirs (-want +got)\n%s", notes, diff)
	}
	if got := read(t, filepath.Join(group, "cpu.max")); got != "100000 100000" {
		t.Errorf("cpu.max is %q", got)
	}
	dirs, notes = cs.create("two", 512, 1) // as if the kernel had not enabled the controllers
	if len(dirs) != 1 || len(notes) != 2 {
		t.Errorf("without control files: dirs %q, notes %q", dirs, notes)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestHostsOfOneMachineNameThingsApart: both may have an instance while it moves; one that was made before keeps its names.
func TestHostsOfOneMachineNameThingsApart(t *testing.T) {
	const id = "0199d0a1-0000-7000-8000-00000000a001"
	names := map[string]bool{}
	for _, mark := range []string{"", (&Host{cfg: Config{Dir: "/a"}}).mark(), (&Host{cfg: Config{Dir: "/b"}}).mark()} {
		inst := &instance{id: id, rec: record{Mark: mark}}
		wire := (&sandboxes{Host: new(Host)}).network(inst)
		if len(wire.Interface) > 15 {
			t.Errorf("the interface %s has too long a name", wire.Interface)
		}
		for _, name := range []string{inst.name(), wire.Name, wire.Interface} {
			if names[name] {
				t.Errorf("%s is named twice", name)
			}
			names[name] = true
		}
	}
	for _, name := range []string{id, "coffer-" + id, "cf00000000a001"} {
		if !names[name] {
			t.Errorf("an instance without a mark has no %s any more: %v", name, names)
		}
	}
}
