package service

import (
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// daemonUID has a name on every Debian.
const daemonUID = 1

// named runs a program as a user whom the program can find a name of. The user of an instance on a host has none: it is shown
// to the program as another one, in a user namespace that holds nobody else.
func named(as *syscall.Credential) *syscall.SysProcAttr {
	uid, gid := os.Geteuid(), os.Getegid()
	if as != nil {
		uid, gid = int(as.Uid), int(as.Gid)
	}
	if _, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return &syscall.SysProcAttr{Credential: as}
	}
	root := os.Geteuid() == 0
	return &syscall.SysProcAttr{
		Cloneflags:                 syscall.CLONE_NEWUSER,
		UidMappings:                []syscall.SysProcIDMap{{ContainerID: daemonUID, HostID: uid, Size: 1}},
		GidMappings:                []syscall.SysProcIDMap{{ContainerID: daemonUID, HostID: gid, Size: 1}},
		GidMappingsEnableSetgroups: root,
		Credential:                 &syscall.Credential{Uid: daemonUID, Gid: daemonUID, NoSetGroups: !root},
	}
}
