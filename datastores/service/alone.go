package service

import (
	"errors"
	"io"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// nobody is the user and the group that own nothing.
const nobody = 65534

// alone is a program that [RunOptions.Alone] holds for. Its user namespace knows nobody else, so that no program of root's that it may start
// makes root of it; and process 1 of its process namespace is the program.
func alone(root string) *syscall.SysProcAttr {
	ids := []syscall.SysProcIDMap{{ContainerID: nobody, HostID: nobody, Size: 1}}
	return &syscall.SysProcAttr{
		Chroot:      root,
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: Credential(nobody, nobody),
	}
}

// copied is a program in memory, for nobody: who may not get to where it lies, nor read or run it there. Everybody may do with the copy
// what the owner may do with the program, but write.
func copied(path string) (*os.File, error) {
	from, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = from.Close() }()
	info, err := from.Stat()
	if err != nil {
		return nil, err
	}
	syscall.ForkLock.RLock() // no other child may hold what is written to: a program that is open for that cannot be run
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.MemfdCreate(info.Name(), unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 all can be run
		fd, err = unix.MemfdCreate(info.Name(), unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	to := os.NewFile(uintptr(fd), path)
	defer func() { _ = to.Close() }()
	if _, err := io.Copy(to, from); err != nil {
		return nil, err
	}
	if err := to.Chmod(0o111 * (info.Mode() >> 6 & 0o5)); err != nil {
		return nil, err
	}
	return os.Open("/proc/self/fd/" + strconv.Itoa(fd))
}
