package deployments

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores/datastoretest"
)

// patience is how long a machine may take for what takes it seconds.
const patience = 2 * time.Minute

// machinesVariable is set where machines are booted: to the directory of their disks.
const machinesVariable = "COFFER_TEST_MACHINES"

// onMachines boots machines with systemd, and operates Coffer on them. All is in namespaces of its own, which end with this process,
// however that ends; another process then takes the rest away.
func onMachines(t *testing.T, debs string) {
	if dir := os.Getenv(machinesVariable); dir != "" {
		s := &stage{dir: dir, debs: debs}
		s.script(t, "stage.sh")
		operate(t, s)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root boots machines")
	}
	datastoretest.Require(t, "/usr/bin/systemd-nspawn", "systemd-container")
	datastoretest.Require(t, "/usr/bin/openssl", "openssl")
	datastoretest.Require(t, "/usr/bin/etcd", "etcd-server etcd-client", "/usr/bin/etcdctl")
	datastoretest.Require(t, "/usr/lib/postgresql/15/bin/postgres", "postgresql-15")
	dir, err := os.MkdirTemp("/var/tmp", "coffer-machines-") // disks of machines may be on disk alone
	if err != nil {
		t.Fatal(err)
	}
	sweep(t, dir)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	timeout := "10m"
	if deadline, ok := t.Deadline(); ok {
		timeout = time.Until(deadline).Round(time.Second).String()
	}
	runtime.LockOSThread() // Pdeathsig is sent when the thread ends
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(t.Context(), "unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child",
		self, "-test.run=^TestDebianPackages$/^machines$", "-test.v", "-test.timeout="+timeout)
	cmd.Env = append(os.Environ(), machinesVariable+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	switch said := string(out); {
	case err != nil:
		t.Errorf("on machines: %v\n%s", err, said)
	case strings.Contains(said, "NOT TESTED"):
		t.Skip(said)
	case !strings.Contains(said, "--- PASS: TestDebianPackages/machines "):
		t.Errorf("on machines the test did not run:\n%s", said)
	default:
		t.Log(said)
	}
}

// sweep has another process take the disks and the control groups of machines away when this one ends, or the test before it.
func sweep(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command("sh", "testdata/machines/sweep.sh", filepath.Base(dir), dir)
	alive, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = alive.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("what machines leave: %v", err)
		}
		if left, _ := filepath.Glob("/sys/fs/cgroup/*/" + filepath.Base(dir)); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// stage is where machines are.
type stage struct{ dir, debs string }

// script runs one of testdata/machines here: on the router between the machines.
func (s *stage) script(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "sh", append([]string{"testdata/machines/" + name}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// machine is one that systemd has booted.
type machine struct {
	name    string
	init    int // its process 1, as this machine sees it
	console bytes.Buffer
}

// boot starts a machine; it is ready once that is waited for. The test is skipped when no machine boots here, or none that could have
// sandboxes: this is the trial of it.
func (s *stage) boot(t *testing.T, name, network string) (ready func(args ...string) *machine) {
	t.Helper()
	m := &machine{name: name}
	cmd := exec.Command("sh", "testdata/machines/boot.sh", name, filepath.Join(s.dir, name), network, s.debs, filepath.Base(s.dir))
	cmd.Stdout, cmd.Stderr = &m.console, &m.console
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if t.Failed() && m.init != 0 {
			said, _ := m.run(context.Background(), "journalctl --no-pager --boot --unit=coffer-* | grep -v level.:.INFO | tail -n 40; systemctl --failed --no-pager")
			t.Logf("%s:\n%s", name, said)
		}
		if m.init != 0 { // 0 would be everything that has to do with this test
			_ = syscall.Kill(m.init, syscall.SIGKILL)
		}
		_ = cmd.Process.Kill()
		<-ended
	})
	return func(args ...string) *machine {
		t.Helper()
		var said string
		up := until.Holds(patience, func() bool {
			if m.init = child(cmd.Process.Pid); m.init == 0 {
				return len(ended) > 0
			}
			var err error
			said, err = m.run(t.Context(), "systemctl is-system-running --wait")
			return err == nil || strings.Contains(said, "degraded")
		})
		if up && m.init != 0 {
			var err error
			if said, err = m.script(t.Context(), "machine.sh", args...); err == nil {
				return m
			}
		}
		_ = cmd.Process.Kill()
		ended <- <-ended // the console is whole then
		t.Skipf("NOT TESTED: this machine does not boot another that could have sandboxes: %s\n%s", said, m.console.String())
		return nil
	}
}

// child is the process that pid has started, 0 when it has not.
func child(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	first, _, _ := strings.Cut(string(b), " ")
	n, err := strconv.Atoi(first)
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", n))
	if err != nil || strings.TrimSpace(string(comm)) != "systemd" {
		return 0
	}
	return n
}

// run runs a line of the shell on the machine, with these variables set.
func (m *machine) run(ctx context.Context, line string, env ...string) (string, error) {
	return m.enter(ctx, "", append(env, "sh", "-ec", line)...)
}

// script runs one of testdata/machines on the machine.
func (m *machine) script(ctx context.Context, name string, args ...string) (string, error) {
	text, err := os.ReadFile(filepath.Join("testdata/machines", name))
	if err != nil {
		return "", err
	}
	return m.enter(ctx, string(text), append([]string{"sh", "-s"}, args...)...)
}

func (m *machine) enter(ctx context.Context, stdin string, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target", strconv.Itoa(m.init), "--all", "env", "-i",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}, argv...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	said := strings.TrimSpace(string(out))
	if err != nil {
		err = fmt.Errorf("on %s: %s: %w\n%s\n%s", m.name, argv[len(argv)-1], err, said, complaint.String())
	}
	return said, err
}

// must runs a line on the machine, and returns what it prints.
func (m *machine) must(t *testing.T, line string, env ...string) string {
	t.Helper()
	said, err := m.run(t.Context(), line, env...)
	if err != nil {
		t.Fatal(err)
	}
	return said
}

// play runs a script on the machine.
func (m *machine) play(t *testing.T, name string, args ...string) {
	t.Helper()
	if _, err := m.script(t.Context(), name, args...); err != nil {
		t.Fatal(err)
	}
}
