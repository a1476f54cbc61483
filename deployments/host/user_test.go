package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestLaunchWithoutRoot launches as an ordinary user: directory, no limits, no rules, and a note for each. Run by root it
// runs itself again as another user, from a copy of the test binary that such a user can reach.
func TestLaunchWithoutRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		const user = 19999
		dir, err := os.MkdirTemp("", "coffer-host-test-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		binary := filepath.Join(dir, "host.test")
		write(t, binary, read(t, self))
		for path, mode := range map[string]os.FileMode{dir: 0o700, binary: 0o700} {
			if err := os.Chown(path, user, user); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(binary, "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}

	h := newHost(t)
	inst, reply := launch(t, h, request(0))
	if reply.Volume != volumeDirectory || inst.uid != -1 {
		t.Errorf("volume %q, user %d", reply.Volume, inst.uid)
	}
	notes := strings.Join(append(reply.Notes, h.notes()...), "\n")
	for _, want := range []string{"plain directory without a limit", "ports are not protected", "not root"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes do not say %q:\n%s", want, notes)
		}
	}
	if info, err := os.Stat(inst.path("guest")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the guest's directory: %v, %v", info.Mode(), err)
	}
	pid := database(t, inst)
	remove(t, h, inst.id)
	if slices.Contains(processesOf(os.Getuid()), pid) {
		t.Error("the database runs still")
	}
}

// H3: what a removed instance had left somewhere was soon another's, who had its user.
func TestAUserIsNotGivenAgain(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	first, _ := launch(t, h, request(0))
	remove(t, h, first.id)
	if second, _ := launch(t, h, request(1)); second.uid != first.uid+1 {
		t.Errorf("after user %d comes %d", first.uid, second.uid)
	}
}
