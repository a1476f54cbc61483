package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/service"
)

// mount makes sure that the block device of the option device_path is mounted at the data directory. Without the option it
// does nothing. format allows a filesystem to be made on a device that is blank; what is not blank is never formatted.
func (g *Guest) mount(ctx context.Context, s *served, format bool) error {
	device, target := s.options.DevicePath, s.env.DataDir
	if device == "" {
		return nil
	}
	there, err := mountedAt(device, target)
	if err != nil || there {
		return err
	}
	kind, err := g.filesystem(ctx, device, format)
	if err != nil {
		return err
	}
	if err := unix.Mount(device, target, kind, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("cannot mount %s (%s) at %s: %w", device, kind, target, err)
	}
	g.log.Info("mounted the volume", "device", device, "filesystem", kind, "directory", target)
	return nil
}

// mountedAt reports whether device is mounted at target; it fails when something else is.
func mountedAt(device, target string) (bool, error) {
	var dev, dir, parent unix.Stat_t
	err := unix.Stat(device, &dev)
	if errors.Is(err, unix.ENOENT) {
		return false, datastores.Errorf(datastores.Invalid,
			"device_path %s: there is no such device here; where a host makes the volume, in a sandbox, leave device_path out", filepath.Base(device))
	}
	if err != nil {
		return false, fmt.Errorf("device_path %s: %w", device, err)
	}
	if dev.Mode&unix.S_IFMT != unix.S_IFBLK {
		return false, datastores.Errorf(datastores.Invalid, "device_path %s is not a block device", device)
	}
	if err := errors.Join(unix.Lstat(target, &dir), unix.Stat(filepath.Dir(target), &parent)); err != nil {
		return false, fmt.Errorf("cannot mount %s at %s: %w", device, target, err)
	}
	switch {
	case dir.Mode&unix.S_IFMT != unix.S_IFDIR:
		return false, fmt.Errorf("cannot mount %s at %s: that is no directory", device, target)
	case dir.Dev == dev.Rdev:
		return true, nil
	case dir.Dev != parent.Dev:
		return false, datastores.Errorf(datastores.Conflict,
			"cannot mount %s at %s: something else is mounted there; unmount it, or leave device_path empty", device, target)
	}
	return false, nil
}

// filesystem returns the kind of the filesystem on the device, and makes one when it may.
func (g *Guest) filesystem(ctx context.Context, device string, format bool) (string, error) {
	found, err := signature(ctx, device)
	if err != nil {
		return "", err
	}
	switch {
	case found == "ext4" || found == "xfs":
		return found, g.state.change(func(s *state) { s.Formatting = "" })
	case found != "":
		return "", notBlank(device, found)
	case !format:
		return "", fmt.Errorf("there is no filesystem on %s, where the data should be: is it the right device?", device)
	}
	if g.state.get().Formatting != device { // else what is there is left of a formatting that was cut
		if blank, err := isBlank(device); err != nil || !blank {
			return "", errors.Join(err, notBlank(device, "data of an unknown kind"))
		}
	}
	if err := g.state.change(func(s *state) { s.Formatting = device }); err != nil {
		return "", err
	}
	g.log.Info("formatting the blank volume", "device", device)
	if _, err := service.Run(ctx, []string{"/sbin/mkfs.ext4", "-q", "-m", "0", device}, service.RunOptions{}); err != nil {
		return "", fmt.Errorf("cannot format %s: %w", device, err)
	}
	return "ext4", g.state.change(func(s *state) { s.Formatting = "" })
}

func notBlank(device, found string) error {
	return datastores.Errorf(datastores.Conflict,
		"device_path %s holds %s and is not formatted: name the right device, or make it blank (wipefs -a, then zeroes over its first MiB)", device, found)
}

// signature tells what blkid finds on a device: the filesystem, or the words for what else it is; "" when it finds nothing.
func signature(ctx context.Context, device string) (string, error) {
	out, err := service.Run(ctx, []string{"/sbin/blkid", "-p", "-o", "export", "--", device}, service.RunOptions{})
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == 2:
		return "", nil
	case errors.As(err, &exit) && exit.ExitCode() == 8:
		return "signs of more than one thing", nil
	case err != nil:
		return "", fmt.Errorf("cannot tell what is on %s: %w", device, err)
	}
	var other string
	for line := range strings.Lines(string(out)) {
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), "="); name {
		case "TYPE":
			return value, nil
		case "PTTYPE":
			other = "a partition table (" + value + ")"
		}
	}
	if other == "" {
		other = "something"
	}
	return other, nil
}

// isBlank reports whether the first and the last MiB of a device hold nothing but zeroes.
func isBlank(device string) (bool, error) {
	f, err := os.Open(device)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	part := make([]byte, min(size, 1<<20))
	for _, at := range []int64{0, size - int64(len(part))} {
		if _, err := f.ReadAt(part, at); err != nil {
			return false, fmt.Errorf("cannot read %s: %w", device, err)
		}
		if len(bytes.Trim(part, "\x00")) > 0 {
			return false, nil
		}
	}
	return true, nil
}
