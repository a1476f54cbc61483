package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores/service"
)

// ensureVolume makes the place for the instance's data, or brings it back after a reboot. Which kind it is, is decided
// once: a loop volume that cannot be mounted again is an error, never an empty directory in its stead.
func (i *instance) ensureVolume(ctx context.Context) error {
	if err := os.MkdirAll(i.mountPoint(), 0o755); err != nil {
		return err
	}
	if i.rec.Volume == "" {
		i.rec.Volume = volumeDirectory
		if size := i.rec.Launch.VolumeGB; size > 0 {
			switch err := i.makeVolume(ctx, size); {
			case err == nil:
				i.rec.Volume = volumeLoop
			case errors.Is(err, unix.ENOSPC):
				i.rec.Volume = "" // a directory would take what others were sold
				return agentpoll.Errorf(agentpoll.Full, "this host has no room for a volume of %d GB", size)
			default:
				i.rec.VolumeNote = fmt.Sprintf("the volume is a plain directory without a limit: %v", err)
			}
		}
		if err := i.save(); err != nil {
			return err
		}
	}
	if i.rec.Volume == volumeLoop {
		if err := i.mountVolume(ctx); err != nil {
			return fmt.Errorf("cannot mount the volume %s: %w", i.path(volumeImage), err)
		}
	}
	if i.uid < 0 {
		return nil
	}
	return errors.Join(os.Lchown(i.mountPoint(), i.uid, i.uid), os.Chmod(i.mountPoint(), 0o700))
}

// mountVolume mounts the volume, once a grow that was cut is finished.
func (i *instance) mountVolume(ctx context.Context) error {
	mounted, err := isMounted(i.mountPoint())
	if err != nil || mounted {
		return err
	}
	if i.rec.Growing > 0 {
		if err := i.finishGrow(ctx); i.rec.Growing > 0 {
			return fmt.Errorf("cannot finish growing it: %w", err)
		}
	}
	return mountImage(ctx, i.path(volumeImage), i.mountPoint())
}

// adrift reports whether the volume is not mounted although nothing keeps it from being: a resize that failed has left it
// so, or a person.
func (i *instance) adrift() bool {
	var here, above unix.Stat_t
	target := i.mountPoint()
	return i.rec.Volume == volumeLoop && unix.Stat(target, &here) == nil && unix.Stat(filepath.Dir(target), &above) == nil && here.Dev == above.Dev
}

// makeVolume makes and mounts a new volume, or leaves nothing.
func (i *instance) makeVolume(ctx context.Context, sizeGB int) error {
	if err := loopsAllowed(); err != nil {
		return err
	}
	image := i.path(volumeImage)
	err := makeImage(ctx, image, sizeGB)
	if err == nil {
		err = mountImage(ctx, image, i.mountPoint())
	}
	if err != nil {
		return errors.Join(err, removeIfThere(image))
	}
	return nil
}

// loopsAllowed tells why this machine cannot give volumes, as far as can be known beforehand.
func loopsAllowed() error {
	if os.Geteuid() != 0 {
		return errors.New("the host agent is not root")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return fmt.Errorf("no loop devices: %w", err)
	}
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		return fmt.Errorf("no mkfs.ext4 (package e2fsprogs): %w", err)
	}
	return nil
}

// makeImage makes a file with an empty ext4, to which the disk's blocks are given at once. The inode tables are written when they are
// first needed, so that it takes some 10 ms whatever the size; discarding is pointless in a new file.
func makeImage(ctx context.Context, path string, sizeGB int) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(allocate(f, int64(sizeGB)<<30), f.Close()); err != nil {
		return err
	}
	_, err = service.Run(ctx, []string{"mkfs.ext4", "-q", "-F", "-m", "0",
		"-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", path}, service.RunOptions{})
	return err
}

// allocate makes a file as large as that, and has the file system put so much aside: no other file can take it, so that who fills what he
// was sold meets no error but that of his own volume. On a file system that puts nothing aside the file is sparse.
func allocate(f *os.File, size int64) error {
	err := os.NewSyscallError("fallocate", unix.Fallocate(int(f.Fd()), 0, 0, size))
	if errors.Is(err, unix.EOPNOTSUPP) {
		return f.Truncate(size)
	}
	return err
}

// mountImage mounts the filesystem in a file, unless something is mounted there. The loop device frees itself when it
// is unmounted, and at once when the mount fails or this process is killed before it.
func mountImage(ctx context.Context, image, target string) error {
	mounted, err := isMounted(target)
	if err != nil || mounted {
		return err
	}
	lock, err := lockImage(ctx, image)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	device, err := attachLoop(image)
	if err != nil {
		return err
	}
	defer func() { _ = device.Close() }()
	return os.NewSyscallError("mount", unix.Mount(device.Name(), target, "ext4", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOATIME, ""))
}

func attachLoop(image string) (*os.File, error) {
	file, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = control.Close() }()
	config := unix.LoopConfig{Fd: uint32(file.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], image) // what losetup -l shows

	const attempts = 20 // another process may take the device that was free a moment ago
	for range attempts {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("no free loop device: %w", err)
		}
		device, err := os.OpenFile("/dev/loop"+strconv.Itoa(n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			return device, nil
		}
		_ = device.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("cannot attach %s to %s: %w", image, device.Name(), err)
		}
	}
	return nil, fmt.Errorf("cannot attach %s: every free loop device was taken by others", image)
}

// unmount unmounts what is mounted at target, if anything is. What is still busy after a while is detached: it goes
// away with its last user.
func unmount(target string) error {
	mounted, err := isMounted(target)
	if err != nil || !mounted {
		return err
	}
	err = retry(2*time.Second, func() error { return unix.Unmount(target, 0) })
	if err != nil {
		err = unix.Unmount(target, unix.MNT_DETACH)
	}
	return os.NewSyscallError("umount", err)
}

func isMounted(target string) (bool, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false, err
	}
	return slices.Contains(mountPoints(string(b)), target), nil
}

// mountPoints reads the mount points of a /proc/self/mountinfo, in which space, tab, newline and backslash are octal.
func mountPoints(mountinfo string) []string {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var points []string
	for line := range strings.Lines(mountinfo) {
		if fields := strings.Fields(line); len(fields) > 4 {
			points = append(points, unescape.Replace(fields[4]))
		}
	}
	return points
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
