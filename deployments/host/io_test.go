package host

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferdb/coffer/deployments/host/sandbox"
)

func TestIOSettings(t *testing.T) {
	for _, c := range []struct {
		limit IOLimit
		v2    bool
		want  string
	}{
		{IOLimit{100, 1 << 20}, true, "io.max=7:3 rbps=1048576 wbps=1048576 riops=100 wiops=100"},
		{IOLimit{Operations: 100}, true, "io.max=7:3 rbps=max wbps=max riops=100 wiops=100"},
		{IOLimit{}, true, "io.max=7:3 rbps=max wbps=max riops=max wiops=max"},
		{IOLimit{100, 1 << 20}, false, "blkio.throttle.read_bps_device=7:3 1048576 blkio.throttle.read_iops_device=7:3 100 " +
			"blkio.throttle.write_bps_device=7:3 1048576 blkio.throttle.write_iops_device=7:3 100"},
		{IOLimit{Bytes: 5}, false, "blkio.throttle.read_bps_device=7:3 5 blkio.throttle.read_iops_device=7:3 0 " +
			"blkio.throttle.write_bps_device=7:3 5 blkio.throttle.write_iops_device=7:3 0"},
	} {
		var got []string
		for _, s := range c.limit.settings(c.v2, "7:3") {
			got = append(got, s.file+"="+s.value)
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%+v: %s, want %s", c.limit, text, c.want)
		}
	}
}

// TestIOLimitIsKept writes in a sandbox to the disk, past the page cache: it takes no less than the limit says. Then the limit is lifted.
func TestIOLimitIsKept(t *testing.T) {
	needRoot(t)
	t.Setenv("TMPDIR", "/var/tmp") // it takes a disk
	h := newSandboxHost(t)
	if h.io == nil {
		t.Skip("this kernel limits no reading and writing")
	}
	h.cfg.IO = IOLimit{Bytes: 1 << 20}
	if err := h.checkIO(); err != nil {
		t.Fatal(err)
	}
	args := boxRequest(h, 0)
	args.Manager = "asked"
	inst, reply := launch(t, h, args)
	if len(reply.Notes) > 0 {
		t.Fatalf("notes %q", reply.Notes)
	}
	boxDatabase(t, inst)
	write := func(path string) time.Duration {
		t.Helper()
		began := time.Now()
		if out := inside(t, inst, sandbox.ServerID, "dd if=/dev/zero of="+path+" bs=128k count=24 oflag=direct,sync status=none"); out != "" {
			t.Fatal(out)
		}
		return time.Since(began)
	}
	if took := write("/var/lib/fake/x"); took < 2*time.Second {
		t.Errorf("3 MiB at 1 MiB a second took %s", took)
	}
	h.cfg.IO = IOLimit{}
	if _, notes := h.limit(inst); len(notes) > 0 {
		t.Errorf("notes %q", notes)
	}
	for _, s := range (IOLimit{}).settings(h.io.v2, "") {
		if rules := strings.TrimSpace(read(t, filepath.Join(h.io.group(inst.name()), s.file))); rules != "" {
			t.Errorf("%s still says %s", s.file, rules)
		}
	}
}

// TestIOLimitThatCannotBe: a host that could not keep to it does not start.
func TestIOLimitThatCannotBe(t *testing.T) {
	h := &Host{cfg: Config{IO: IOLimit{Operations: 1}, Dir: t.TempDir()}}
	if err := h.checkIO(); err == nil || !strings.Contains(err.Error(), "no blkio") {
		t.Errorf("without a control group: %v", err)
	}
	h.io = &controller{name: ioV1, mount: t.TempDir()}
	if err := h.checkIO(); err == nil || !strings.Contains(err.Error(), "cannot be enforced") {
		t.Errorf("with a directory that is no control group: %v", err)
	}
	if _, err := diskOf("/proc"); err == nil {
		t.Error("/proc lies on a disk")
	}
	h.cfg.IO = IOLimit{}
	if err := h.checkIO(); err != nil {
		t.Errorf("without a limit: %v", err)
	}
	if got := h.groups(); !slices.Contains(got, *h.io) {
		t.Errorf("groups %v", got)
	}
}
