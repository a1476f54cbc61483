package datastoretest

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cofferdb/coffer/datastores/service"
)

// process is one process of a server, as the kernel knows it.
type process struct {
	pid    int
	parent int
	argv   []string
	fields map[string]string // of /proc/PID/status
	inodes []string          // of its sockets
	output []string          // where its standard output and error go
}

func (p process) String() string { return fmt.Sprintf("process %q", filepath.Base(p.fields["Name"])) }

// processes are those that name, use or work in a directory of the server's.
func (s *server) processes(t *testing.T) (all []process) {
	t.Helper()
	entries, err := filepath.Glob("/proc/[0-9]*")
	s.must(t, "look for processes", err)
	for _, dir := range entries {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if p, ours := s.process(dir, pid); ours && pid != os.Getpid() {
			all = append(all, p)
		}
	}
	return all
}

// process reads one; it may end meanwhile.
func (s *server) process(dir string, pid int) (p process, ours bool) {
	cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
	p = process{pid: pid, argv: strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00"), fields: map[string]string{}}
	links, _ := filepath.Glob(filepath.Join(dir, "fd", "*"))
	used := slices.Clone(p.argv)
	for _, link := range append(links, filepath.Join(dir, "cwd")) {
		target, _ := os.Readlink(link)
		used = append(used, target)
		if fd := filepath.Base(link); fd == "1" || fd == "2" {
			p.output = append(p.output, target)
		}
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			p.inodes = append(p.inodes, strings.TrimSuffix(inode, "]"))
		}
	}
	for _, name := range used {
		ours = ours || strings.Contains(name, s.env.Dir) || strings.Contains(name, s.env.DataDir)
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		p.fields[name] = strings.TrimSpace(value)
	}
	p.parent, _ = strconv.Atoi(p.fields["PPid"])
	return p, ours && err == nil
}

// testProcess looks at the server's processes: where they listen, as whom they run, in which control groups, how big they are.
func testProcess(t *testing.T, s *server) {
	all := s.processes(t)
	if len(all) == 0 {
		t.Fatalf("no process is found that has to do with %q or %q", s.env.Dir, s.env.DataDir)
	}
	s.part(t, "sockets", func(t *testing.T) { s.checkSockets(t, all) })
	s.part(t, "user", func(t *testing.T) { s.checkUser(t, all) })
	s.part(t, "control groups", func(t *testing.T) { s.checkGroups(t, all) })
	s.part(t, "size", func(t *testing.T) { s.checkSize(t, all) })
	s.part(t, "output", func(t *testing.T) { s.checkOutput(t, all) })
	s.part(t, "leftovers", s.checkLeftovers)
}

// checkUser: every process has the server's user and group, and no further groups and rights.
func (s *server) checkUser(t *testing.T, all []process) {
	uid, gid := s.env.UID, s.env.GID
	if uid < 0 {
		uid, gid = os.Geteuid(), os.Getegid()
	}
	for _, p := range all {
		for name, want := range map[string]int{"Uid": uid, "Gid": gid} {
			for _, id := range strings.Fields(p.fields[name]) {
				if id != strconv.Itoa(want) {
					t.Errorf("%s: %s is %s; want %d, real, effective, saved and of files", p, name, p.fields[name], want)
					break
				}
			}
		}
		if s.env.UID < 0 {
			continue // the test's own user is what it is
		}
		for _, group := range strings.Fields(p.fields["Groups"]) {
			if group != strconv.Itoa(gid) {
				t.Errorf("%s: it is in group %s, too", p, group)
			}
		}
		if strings.Trim(p.fields["CapPrm"], "0") != "" && uid != 0 {
			t.Errorf("%s: it has capabilities: %s", p, p.fields["CapPrm"])
		}
	}
}

// checkGroups: the server was moved into the control groups; what it starts is in them by itself.
func (s *server) checkGroups(t *testing.T, all []process) {
	if len(s.env.CgroupDirs) == 0 {
		t.Skip("the harness's Env has no CgroupDirs: not tested")
	}
	for _, dir := range s.env.CgroupDirs {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		s.must(t, "read the control group", err)
		members := bytes.Fields(text)
		for _, p := range all {
			child := slices.ContainsFunc(all, func(parent process) bool { return parent.pid == p.parent })
			in := slices.ContainsFunc(members, func(m []byte) bool { return string(m) == strconv.Itoa(p.pid) })
			if !child && !in {
				t.Errorf("%s was not moved into the control group", p)
			}
		}
	}
}

// checkLeftovers: what a tenant had started as the server's user ends with the server, for the data may be another's next.
func (s *server) checkLeftovers(t *testing.T) {
	if s.env.UID < 0 {
		t.Skip("the server has no user of its own: not tested")
	}
	daemon := exec.Command("/bin/sleep", "300")
	daemon.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: service.Credential(s.env.UID, s.env.GID)}
	s.must(t, "start a daemon", daemon.Start())
	ended := make(chan error, 1)
	go func() { ended <- daemon.Wait() }()
	s.stop(t)
	if left := service.ProcessesOf(s.env.UID); len(left) > 0 {
		t.Errorf("the server has stopped, and %d processes of its user run on: see service.EndUser", len(left))
	}
	_ = daemon.Process.Kill()
	<-ended
	s.start(t)
}

// checkOutput: what tenants can have a server write fills its volume, never the guest's directory.
func (s *server) checkOutput(t *testing.T, all []process) {
	for _, p := range all {
		for _, target := range p.output {
			if strings.HasPrefix(target, s.env.Dir+"/") {
				t.Errorf("%s: its output goes to %s in the guest's directory: give its Service a LogDir on the volume", p, filepath.Base(target))
			}
		}
	}
}

// checkSize: an empty server has room in the memory that it is allowed.
func (s *server) checkSize(t *testing.T, all []process) {
	if s.env.MemoryMB == 0 {
		t.Skip("the harness's Env has no MemoryMB: not tested")
	}
	kilobytes := 0
	for _, p := range all {
		n, _ := strconv.Atoi(strings.TrimSuffix(cmp.Or(p.share(), p.fields["VmRSS"]), " kB"))
		kilobytes += n
	}
	if kilobytes > s.env.MemoryMB<<10 {
		t.Errorf("the empty server has %d KB in memory, and is allowed %d MB", kilobytes, s.env.MemoryMB)
	}
}

// share is the process's memory without what it shares with others; "" when the kernel does not tell.
func (p process) share() string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "Pss:"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
