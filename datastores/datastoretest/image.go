package datastoretest

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const insideVariable = "COFFER_TEST_INSIDE"

// InImage has the caller run in an image, as `task image` makes them, so that servers of another release run as they are
// packaged. It reports whether the caller is inside. Outside it runs the same test once more in another process, whose root
// directory is the image, waits for its end, and fails when that fails: the caller returns then. Its subtests stand outside as
// well, so that what was skipped inside is seen.
//
// The image is not changed: what is written to it goes to memory and is gone. /tmp, /proc, /dev and /sys are the machine's, and so
// is the directory of the package under test.
func InImage(t *testing.T, name string) (inside bool) {
	t.Helper()
	return inImage(t, name, 0)
}

// InImageAlone is InImage with a network of its own, in which nobody else is: see [Networks].
func InImageAlone(t *testing.T, name string) (inside bool) {
	t.Helper()
	return inImage(t, name, syscall.CLONE_NEWNET)
}

func inImage(t *testing.T, name string, more uintptr) (inside bool) {
	t.Helper()
	if os.Getenv(insideVariable) == name {
		return true
	}
	tree := filepath.Join(cmp.Or(os.Getenv("COFFER_IMAGES"), "/var/cache/coffer/images"), name)
	Require(t, tree, "the image "+name+": task image")
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root runs servers of an image")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	package_, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	var pattern []string
	for part := range strings.SplitSeq(t.Name(), "/") {
		pattern = append(pattern, "^"+part+"$")
	}
	args := []string{self, "-test.run=" + strings.Join(pattern, "/"), "-test.v"}
	if deadline, ok := t.Deadline(); ok {
		args = append(args, "-test.timeout="+time.Until(deadline).Round(time.Second).String())
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "sh", append([]string{"-ec", enter, "sh", tree, package_}, args...)...)
	cmd.Env = append(os.Environ(), insideVariable+"="+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS | more}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("in the image %s: %v\n%s", name, err, out)
	} else if !strings.Contains(string(out), fmt.Sprintf("--- PASS: %s ", t.Name())) {
		t.Errorf("in the image %s the test did not run:\n%s", name, out)
	}
	for _, r := range resultsInside(t.Name(), string(out)) {
		t.Run(r.name, func(t *testing.T) {
			if r.skipped {
				t.Skip(r.reason)
			}
		})
	}
	return false
}

// resultInside is how a subtest ended in another process.
type resultInside struct {
	name    string // without its parent's
	skipped bool
	reason  string // the last line that it wrote
}

var (
	turnInside = regexp.MustCompile(`^=== (?:RUN|NAME|CONT|PAUSE) +(\S+)$`)
	endInside  = regexp.MustCompile(`^ *--- (PASS|SKIP): (\S+) `)
)

// resultsInside reads what `go test -v` has written of the subtests of a test, but for those that failed.
func resultsInside(parent, out string) (results []resultInside) {
	said, now := map[string]string{}, ""
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		if turn := turnInside.FindStringSubmatch(line); turn != nil {
			now = turn[1]
		} else if end := endInside.FindStringSubmatch(line); end != nil {
			if name, ok := strings.CutPrefix(end[2], parent+"/"); ok {
				results = append(results, resultInside{name, end[1] == "SKIP", said[end[2]]})
			}
		} else {
			said[now] = strings.TrimSpace(line)
		}
	}
	return results
}

// enter makes the image, with a layer in memory over it, the root directory of the program that follows.
const enter = `
tree=$1 package=$2
shift 2
mount --make-rprivate /
# Other tests' volumes are theirs alone: they unmount them. A test that removes the directory below takes the mount from here, too.
awk '$3 ~ /^7:/ && $5 ~ /^\/(tmp|dev\/shm)\// {print $5}' /proc/self/mountinfo | while read -r volume; do umount -l "$volume" || ! mountpoint -q "$volume"; done
layers=$(mktemp -d)
mount -t tmpfs -o mode=755 tmpfs "$layers"
mkdir "$layers/upper" "$layers/work" "$layers/root"
root=$layers/root
mount -t overlay -o "lowerdir=$tree,upperdir=$layers/upper,workdir=$layers/work" overlay "$root"
for dir in /proc /dev /sys /tmp "$package"; do
	mkdir -p "$root$dir"
	mount --rbind "$dir" "$root$dir"
done
mkdir -p "$root/machine"
cd "$root"
pivot_root . machine # chroot(2) would forbid user namespaces inside
exec chroot . sh -ec 'umount -l /machine && cd "$0" && exec "$@"' "$package" "$@"
`
