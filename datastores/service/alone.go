package service

import (
	"context"
	"os"
	"os/exec"
	"syscall"
)

// nobody is the user and the group that own nothing.
const nobody = 65534

// alone is a program that [RunOptions.Alone] holds for. Its user namespace knows nobody else, so that no program of root's that it may start
// makes root of it; and process 1 of its process namespace is the program. The file is open, since nobody may not get to where it is.
func alone(ctx context.Context, file *os.File, argv []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/fd/3")
	cmd.Args = argv
	cmd.ExtraFiles = []*os.File{file} // the first of them is 3
	ids := []syscall.SysProcIDMap{{ContainerID: nobody, HostID: nobody, Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: Credential(nobody, nobody),
	}
	return cmd
}
