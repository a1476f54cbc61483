package host

import (
	"context"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferdb/coffer/deployments"
	"github.com/cofferdb/coffer/deployments/host/sandbox"
)

var update = flag.Bool("update", false, "write testdata/visible.txt anew")

// whatIsThere prints what code in a sandbox can see that is not a file of the system's /usr and /etc.
const whatIsThere = `
show() { echo "## $1"; shift; "$@" 2>/dev/null | LC_ALL=C sort -u; }
show 'directories' sh -c 'for d in / /opt /opt/coffer /opt/coffer/etc /dev /run /tmp /var /var/lib; do ls -A $d | sed "s|^|$d/|;s|//|/|"; done'
show 'places that can be written' find / \( -path /proc -o -path /sys -o -path /usr -o -path /etc \) -prune -o -writable \( -type d -o -type f \) -print
show 'mounts' awk '$2 !~ "^/proc/" { print $2, ($4 ~ /(^|,)ro(,|$)/ ? "read-only" : "writable") }' /proc/self/mounts
show 'processes' sh -c 'for p in /proc/[0-9]*; do tr "\0" " " <$p/cmdline; echo; done | cut -d" " -f1 | sed "s|.*/||" | grep -vxE "|sh|show.*|sort|tail|cut|sed|tr|grep|cat"'
show 'sockets of files' find / \( -path /proc -o -path /usr -o -path /etc \) -prune -o -type s -print
show 'abstract sockets' sh -c 'grep -o "@.*" /proc/net/unix'
show 'network interfaces' sh -c 'cut -d: -f1 -s /proc/net/dev | grep -v "|"'
show 'TCP listeners' awk '$4 == "0A" { print substr($2, length($2) - 4) }' /proc/net/tcp /proc/net/tcp6
show 'capabilities' sh -c 'grep ^Cap /proc/self/status | tr -s "\t" " "'
show 'limits' sh -c 'ulimit -c'
`

// TestVisible holds what can be seen in a sandbox, by the server's user and by root inside, against testdata/visible.txt. Whatever is
// new there was let in by somebody: look twice before you write the file anew.
func TestVisible(t *testing.T) {
	needRoot(t)
	h := newSandboxHost(t)
	args := boxRequest(h, 0)
	args.Manager = "asked"
	inst, _ := launch(t, h, args)
	eventually(t, "the guest's database runs", func() bool { return len(processesOf(inst.uid)) == 1 })
	var got strings.Builder
	for _, who := range []struct {
		name string
		uid  int
	}{{"the server's user", sandbox.ServerID}, {"root inside", 0}} {
		got.WriteString("# " + who.name + "\n" + inside(t, inst, who.uid, whatIsThere) + "\n")
	}
	const file = "testdata/visible.txt"
	if *update {
		write(t, file, got.String())
	}
	if diff := cmp.Diff(read(t, file), got.String()); diff != "" {
		t.Errorf("what is visible in a sandbox is not what %s says (-want +got):\n%s", file, diff)
	}
}

// TestForkBomb: processes that ignore every signal and multiply as fast as they are killed end with their sandbox, in seconds.
// They have memory for as many as there may be: with less, the kernel ends them and process 1 before anybody has counted them.
func TestForkBomb(t *testing.T) {
	needRoot(t)
	h := newSandboxHost(t)
	args := boxRequest(h, 0)
	args.Manager, args.MemoryMB = "asked", 8192
	inst, _ := launch(t, h, args)
	inside(t, inst, sandbox.ServerID, `setsid bash -c 'trap "" HUP INT TERM QUIT; b() { b & b & sleep 60; }; b' >/dev/null 2>&1 &`)
	eventually(t, "there are hundreds of processes", func() bool { return len(processesOf(inst.uid)) > 200 })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := h.Remove(ctx, deployments.RemoveArgs{InstanceID: inst.id}); err != nil {
		t.Fatal(err)
	}
	if left := processesOf(inst.uid); len(left) > 0 {
		t.Errorf("%d processes are left", len(left))
	}
	if _, err := os.Stat(inst.dir); err == nil {
		t.Error("its directory is left")
	}
}
