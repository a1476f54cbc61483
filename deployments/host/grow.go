package host

import (
	"context"
	endian "encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/datastores/service"
)

// growMounted grows a mounted volume: the file, its loop device, the filesystem. It may be run again. When the kernel or
// resize2fs refuse, everything has its old size again.
func growMounted(ctx context.Context, image, target string, sizeGB int) error {
	device, err := loopOf(target)
	if err != nil {
		return err
	}
	defer func() { _ = device.Close() }()
	info, err := os.Stat(image)
	if err != nil {
		return err
	}
	was := info.Size()
	if err = setCapacity(device, image, max(was, int64(sizeGB)<<30)); err == nil {
		_, err = service.Run(ctx, []string{"resize2fs", device.Name()}, service.RunOptions{})
	}
	if err == nil {
		return nil
	}
	if has, sizeErr := filesystemSize(device); sizeErr != nil || has > was {
		return err // a part of it was done: the next try does the rest
	}
	return errors.Join(err, setCapacity(device, image, was))
}

// loopOf opens the loop device of which the filesystem is mounted at target.
func loopOf(target string) (*os.File, error) {
	const loopMajor = 7
	var st unix.Stat_t
	if err := unix.Stat(target, &st); err != nil {
		return nil, err
	}
	if unix.Major(st.Dev) != loopMajor {
		return nil, fmt.Errorf("%s is not a loop device's", target)
	}
	return os.OpenFile("/dev/loop"+strconv.Itoa(int(unix.Minor(st.Dev))), os.O_RDWR, 0)
}

func setCapacity(device *os.File, image string, size int64) error {
	f, err := os.OpenFile(image, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(resizeFile(f, size), f.Close()); err != nil {
		return err
	}
	return os.NewSyscallError("LOOP_SET_CAPACITY", unix.IoctlSetInt(int(device.Fd()), unix.LOOP_SET_CAPACITY, 0))
}

// resizeFile makes an image larger, with all of its blocks put aside, or small again. When it fails the image stays as it was.
func resizeFile(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if size < info.Size() {
		return f.Truncate(size)
	}
	if err := allocate(f, size); err != nil {
		return errors.Join(err, f.Truncate(info.Size()))
	}
	return nil
}

// filesystemSize reads the size of an ext4 from its superblock (linux/fs/ext4/ext4.h: struct ext4_super_block).
func filesystemSize(f *os.File) (int64, error) {
	const superblock, blocksLow, logBlockSize, blocksHigh = 1024, 0x4, 0x18, 0x150
	b := make([]byte, 1024)
	if _, err := f.ReadAt(b, superblock); err != nil {
		return 0, err
	}
	blocks := int64(endian.LittleEndian.Uint32(b[blocksHigh:]))<<32 | int64(endian.LittleEndian.Uint32(b[blocksLow:]))
	return blocks * 1024 << endian.LittleEndian.Uint32(b[logBlockSize:]), nil
}

// growUnmounted grows the volume while the database server is stopped, and mounts it again, also when it could not grow.
// What it has begun when this process ends is finished by [instance.finishGrow].
func (i *instance) growUnmounted(ctx context.Context, sizeGB int) error {
	if err := i.release(); err != nil {
		return err
	}
	err := i.grow(ctx, sizeGB)
	if i.rec.Growing > 0 {
		return err
	}
	return errors.Join(err, i.ensureVolume(ctx))
}

// grow records what is begun only when nobody else has the volume's file: else nothing is begun.
func (i *instance) grow(ctx context.Context, sizeGB int) error {
	f, err := lockImage(ctx, i.path(volumeImage))
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	i.rec.Growing = sizeGB
	if err := i.save(); err != nil {
		i.rec.Growing = 0
		return err
	}
	return i.finishGrow(ctx)
}

// release unmounts the volume. One that somebody uses stays mounted.
func (i *instance) release() error {
	const patience = 2 * time.Second // a process that has ended a moment ago may hold it still
	target := i.mountPoint()
	mounted, err := isMounted(target)
	if err != nil || !mounted {
		return err
	}
	err = retry(patience, func() error { return unix.Unmount(target, 0) })
	if errors.Is(err, unix.EBUSY) {
		return agentpoll.Errorf(agentpoll.Conflict, "the volume is in use: stop the database server first")
	}
	return os.NewSyscallError("umount", err)
}

// finishGrow grows the filesystem of the unmounted volume to the size that the record says it is to have. A grow that
// fails on a filesystem that is in order is given up. One that was cut, or that left the filesystem in need of a person,
// stays recorded: the volume is not mounted before it is through.
func (i *instance) finishGrow(ctx context.Context) error {
	image := i.path(volumeImage)
	err := growImage(ctx, image, i.rec.Growing)
	switch {
	case err == nil:
		i.rec.Launch.VolumeGB = i.rec.Growing
	case ctx.Err() != nil || checkImage(ctx, image) != nil:
		return err
	}
	i.rec.Growing = 0
	return errors.Join(err, i.save())
}

func growImage(ctx context.Context, image string, sizeGB int) error {
	f, err := lockImage(ctx, image)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := resizeFile(f, max(info.Size(), int64(sizeGB)<<30)); err != nil {
		return err
	}
	if err := check(ctx, f); err != nil {
		return err
	}
	_, err = service.Run(ctx, []string{"resize2fs", image}, service.RunOptions{Stdin: f})
	return err
}

func checkImage(ctx context.Context, image string) error {
	f, err := lockImage(ctx, image)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return check(ctx, f)
}

// check repairs what can be repaired without asking anybody.
func check(ctx context.Context, image *os.File) error {
	_, err := service.Run(ctx, []string{"e2fsck", "-f", "-p", image.Name()}, service.RunOptions{Stdin: image})
	const corrected = 1 // e2fsck(8)
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() == corrected {
		return nil
	}
	return err
}

// inUse is how long the file of an unmounted volume may be in somebody's hands. The kernel gives back a loop device some time
// after the filesystem is unmounted; a process that was just forked has every open file of this one until it becomes another
// program. Both take long on a busy machine.
const inUse = 10 * time.Second

// lockImage opens the file of a volume once nobody uses it. The lock lasts until the file is closed here and in programs that
// have it as their standard input: one that outlives a killed host keeps the next from mounting what it works on.
func lockImage(ctx context.Context, image string) (*os.File, error) {
	patience, cancel := context.WithTimeout(ctx, inUse)
	defer cancel()
	for {
		f, err := tryLock(image)
		if err == nil || errors.Is(err, fs.ErrNotExist) || !service.Pause(patience, killEvery) {
			return f, err
		}
	}
}

func tryLock(image string) (*os.File, error) {
	if err := attached(image); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another program works on %s still: %w", image, err)
	}
	return f, nil
}

// attached returns an error while a loop device has the file: its filesystem is mounted, here or in another namespace.
func attached(image string) error {
	if real, err := filepath.EvalSymlinks(image); err == nil {
		image = real
	}
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range files {
		if b, err := os.ReadFile(file); err == nil && strings.TrimSuffix(string(b), "\n") == image {
			return fmt.Errorf("%s is in use by %s", image, strings.Split(file, "/")[3])
		}
	}
	return nil
}
