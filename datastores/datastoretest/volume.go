package datastoretest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/cofferdb/coffer/agentpoll/agentpolltest/until"
	"github.com/cofferdb/coffer/datastores"
)

// SmallVolume mounts an ext4 of so many MB where the data of env goes, and returns what makes it larger while the server is stopped.
// It skips the test when that is not root's.
func SmallVolume(t *testing.T, env datastores.Env, sizeMB int) (grow func(sizeMB int)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root mounts volumes")
	}
	run := func(argv ...string) {
		t.Helper()
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", argv, err, out)
		}
	}
	image := filepath.Join(t.TempDir(), "volume")
	mount := func() {
		run("mount", "-o", "loop", image, env.DataDir)
		if err := os.Chown(env.DataDir, env.UID, env.GID); err != nil {
			t.Fatal(err)
		}
	}
	run("truncate", "-s", fmt.Sprintf("%dM", sizeMB), image)
	run("mkfs.ext4", "-q", "-m", "0", image)
	mount()
	t.Cleanup(func() { _ = exec.Command("umount", "-l", env.DataDir).Run() })
	return func(sizeMB int) {
		run("umount", env.DataDir)
		until.True(t, time.Minute, "nobody holds the volume", func() bool { // a sandbox that starts has every mount for a moment
			out, err := exec.Command("losetup", "-j", image).CombinedOutput()
			return err == nil && len(out) == 0
		})
		run("truncate", "-s", fmt.Sprintf("%dM", sizeMB), image)
		run("e2fsck", "-f", "-p", image)
		run("resize2fs", image)
		mount()
	}
}
