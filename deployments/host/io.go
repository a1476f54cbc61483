package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// IOLimit is how much each instance may read, and as much write, in a second: of its volume, and of the disk below the host's directory.
// A number of 0 is no limit.
type IOLimit struct {
	Operations int64
	Bytes      int64
}

// The names of the controller that limits it, in version 1 and 2.
const (
	ioV1 = "blkio"
	ioV2 = "io"
)

// setting is what is to be written into a file of a control group.
type setting struct{ file, value string }

// settings limit one disk. Without a limit they lift the one that was.
func (l IOLimit) settings(v2 bool, disk string) []setting {
	if v2 {
		most := func(n int64) string {
			if n == 0 {
				return "max"
			}
			return fmt.Sprint(n)
		}
		return []setting{{"io.max", fmt.Sprintf("%s rbps=%[2]s wbps=%[2]s riops=%[3]s wiops=%[3]s", disk, most(l.Bytes), most(l.Operations))}}
	}
	var all []setting
	for _, way := range []string{"read", "write"} {
		all = append(all,
			setting{"blkio.throttle." + way + "_bps_device", fmt.Sprintf("%s %d", disk, l.Bytes)},
			setting{"blkio.throttle." + way + "_iops_device", fmt.Sprintf("%s %d", disk, l.Operations)})
	}
	return all
}

// diskOf is the disk that the filesystem of a path lies on, as the kernel numbers it: "8:0".
func diskOf(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", err
	}
	disk := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	dir, err := filepath.EvalSymlinks("/sys/dev/block/" + disk)
	if err != nil {
		return "", fmt.Errorf("%s lies on no disk of its own that could be limited: %w", path, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "partition")); err != nil {
		return disk, nil
	}
	whole, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "dev")) // only that can be limited
	return strings.TrimSpace(string(whole)), err
}

// limitIO limits a group on the disks of these paths; without a limit it lifts the one that the group may have.
func (c controller) limitIO(dir string, l IOLimit, paths ...string) error {
	if l == (IOLimit{}) {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	} else if err := c.makeGroup(dir); err != nil {
		return err
	}
	var disks []string
	var errs []error
	for _, path := range paths {
		disk, err := diskOf(path)
		if err != nil {
			errs = append(errs, err)
		} else if !slices.Contains(disks, disk) {
			disks = append(disks, disk)
		}
	}
	for _, disk := range disks {
		for _, s := range l.settings(c.v2, disk) {
			errs = append(errs, writeControl(filepath.Join(dir, s.file), s.value))
		}
	}
	if l == (IOLimit{}) {
		return nil // there was perhaps nothing to lift
	}
	return errors.Join(errs...)
}

// checkIO tries the limits that are asked for on a group of its own: what cannot be enforced is refused.
func (h *Host) checkIO() error {
	if h.cfg.IO == (IOLimit{}) {
		return nil
	}
	err := errors.New("this machine has no blkio (version 1) or io (version 2) control group")
	if h.io != nil {
		dir := h.io.group(fmt.Sprintf("trial-%d", os.Getpid()))
		err = h.io.limitIO(dir, h.cfg.IO, h.cfg.Dir)
		_ = os.Remove(dir)
		_ = os.Remove(filepath.Dir(dir)) // fails while instances are there
	}
	if err != nil {
		return fmt.Errorf("-iops-per-instance and -io-bytes-per-instance cannot be enforced here; leave them out, or see to it: %w", err)
	}
	return nil
}
