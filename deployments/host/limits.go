package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// groupParent is the control group, below each controller's mount point, that holds one group for each instance.
const groupParent = "coffer"

// controller is one cgroup controller that can limit instances.
type controller struct {
	name  string // "memory", "cpu", or "blkio" or "io"
	mount string // where its hierarchy is mounted
	v2    bool
}

// cgroups are the controllers that this machine has.
type cgroups []controller

// detectCgroups finds the controllers that a flavor asks for in the text of /proc/self/mountinfo. A version 2 hierarchy counts when its root
// group has the controller, which it has not while a version 1 hierarchy holds it.
func detectCgroups(mountinfo string) cgroups { return findCgroups(mountinfo, limited) }

func findCgroups(mountinfo string, wanted []string) cgroups {
	var found cgroups
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		mount, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(mount) < 5 || len(kind) < 3 {
			continue
		}
		var names []string
		switch kind[0] {
		case "cgroup":
			names = strings.Split(kind[2], ",") // the options of the filesystem
		case "cgroup2":
			list, _ := os.ReadFile(filepath.Join(mount[4], "cgroup.controllers")) // none when it cannot be read
			names = strings.Fields(string(list))
		}
		for _, name := range wanted {
			if slices.Contains(names, name) && !found.has(name) {
				found = append(found, controller{name: name, mount: mount[4], v2: kind[0] == "cgroup2"})
			}
		}
	}
	return found
}

// limited are the names of the controllers that a flavor asks for.
var limited = []string{"memory", "cpu"}

func (cs cgroups) has(name string) bool {
	return slices.ContainsFunc(cs, func(c controller) bool { return c.name == name })
}

// notes says what cannot be limited.
func (cs cgroups) notes() []string {
	var notes []string
	for _, name := range limited {
		if !cs.has(name) {
			notes = append(notes, fmt.Sprintf("no usable %s cgroup controller: instances are not limited in %s", name, name))
		}
	}
	return notes
}

func (c controller) group(name string) string { return filepath.Join(c.mount, groupParent, name) }

// groups are the directories of an instance's groups, each once.
func (cs cgroups) groups(id string) []string {
	var dirs []string
	for _, c := range cs {
		if dir := c.group(id); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// create makes the instance's groups with these limits, or changes the limits; 0 is no limit. It returns the groups that
// a process of the instance must join, and a note for each limit that could not be had.
func (cs cgroups) create(id string, memoryMB, vcpus int) (dirs, notes []string) {
	notes = cs.notes()
	for _, c := range cs {
		dir := c.group(id)
		if err := c.makeGroup(dir); err != nil {
			notes = append(notes, fmt.Sprintf("%s is not limited: %v", c.name, err))
			continue
		}
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
		file, value := c.limit(memoryMB, vcpus)
		err := c.fits(dir, memoryMB)
		if err == nil {
			err = writeControl(filepath.Join(dir, file), value)
		}
		if err != nil {
			notes = append(notes, fmt.Sprintf("the limit of %s is not what was asked for: %v", c.name, err))
		}
	}
	return dirs, notes
}

// limit gives the instance's groups their limits. What could not be had is tried again when the host looks: a database that
// uses more memory than it may has first to be restarted.
func (h *Host) limit(inst *instance) (dirs, notes []string) {
	dirs, notes = h.cgroups.create(inst.name(), inst.rec.Launch.MemoryMB, inst.rec.Launch.VCPUs)
	if h.io != nil {
		dir := h.io.group(inst.name())
		if err := h.io.limitIO(dir, h.cfg.IO, inst.mountPoint(), h.cfg.Dir); err != nil {
			notes = append(notes, fmt.Sprintf("reading and writing is not limited: %v", err))
		} else if h.cfg.IO != (IOLimit{}) && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	inst.unmet = len(notes) > len(h.cgroups.notes())
	return dirs, notes
}

// groups are all controllers that an instance may have a group of.
func (h *Host) groups() cgroups {
	if h.io == nil {
		return h.cgroups
	}
	return append(slices.Clone(h.cgroups), *h.io)
}

func (c controller) makeGroup(dir string) error {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	if c.v2 {
		for _, d := range []string{c.mount, parent} {
			if err := writeControl(filepath.Join(d, "cgroup.subtree_control"), "+"+c.name); err != nil {
				return err
			}
		}
	}
	return os.MkdirAll(dir, 0o755)
}

const cpuPeriod = 100_000 // µs, the kernel's default

// limit is the file to write and what to write into it.
func (c controller) limit(memoryMB, vcpus int) (file, value string) {
	memory := "-1"
	if memoryMB > 0 {
		memory = strconv.FormatInt(memoryLimit(memoryMB), 10)
	}
	quota := "-1"
	if vcpus > 0 {
		quota = strconv.Itoa(vcpus * cpuPeriod)
	}
	switch {
	case c.v2 && c.name == "memory":
		return "memory.max", strings.Replace(memory, "-1", "max", 1)
	case c.v2:
		return "cpu.max", fmt.Sprintf("%s %d", strings.Replace(quota, "-1", "max", 1), cpuPeriod)
	case c.name == "memory":
		return "memory.limit_in_bytes", memory
	default:
		return "cpu.cfs_quota_us", quota
	}
}

// fits tells why a limit of memory must not be set yet: version 2 kills processes to get below it, where version 1 refuses.
func (c controller) fits(dir string, memoryMB int) error {
	if !c.v2 || c.name != "memory" || memoryMB == 0 {
		return nil
	}
	b, _ := os.ReadFile(filepath.Join(dir, "memory.stat")) // none of a group that was just made elsewhere
	var anonymous int64
	for line := range strings.Lines(string(b)) {
		if _, err := fmt.Sscanf(line, "anon %d", &anonymous); err == nil {
			break
		}
	}
	if anonymous > memoryLimit(memoryMB) {
		return fmt.Errorf("its processes use %d MB: restart the database server", anonymous>>20)
	}
	return nil
}

// memoryLimit is the flavor's memory and an eighth, in bytes: servers are configured to use what the flavor says, and
// threads, the page tables and the odd temporary buffer come on top.
func memoryLimit(memoryMB int) int64 { return int64(memoryMB)<<20 + int64(memoryMB)<<17 }

// writeControl writes to a file that must be there; os.WriteFile would make one in a directory that is no cgroup.
func writeControl(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// processes are those in the instance's groups.
func (cs cgroups) processes(id string) []int {
	var pids []int
	for _, dir := range cs.groups(id) {
		b, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for _, f := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// remove removes the instance's groups, which must hold no process any more, and the parent with the last of them.
func (cs cgroups) remove(id string) error {
	var problems []error
	for _, dir := range cs.groups(id) {
		// A group stays busy for a moment after its last process was reaped.
		if err := retry(time.Second, func() error { return removeIfThere(dir) }); err != nil {
			problems = append(problems, err)
		}
		_ = os.Remove(filepath.Dir(dir)) // fails while other instances are there
	}
	return errors.Join(problems...)
}
