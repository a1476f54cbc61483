package sandbox

import (
	"path/filepath"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Where things are inside.
const (
	InitPath   = "/opt/coffer/init"
	GuestsPath = "/opt/coffer/guests"
	EtcPath    = "/opt/coffer/etc"
	GuestPath  = "/var/lib/coffer-guest"
)

// Capabilities are what root inside holds, over its own ids only: it makes files the server's and becomes the server's user to
// start it and to run its tools. Nothing of the kernel's that is outside of the sandbox is among them.
var Capabilities = []string{
	"CAP_CHOWN",        // a directory of the server's
	"CAP_DAC_OVERRIDE", // a file in it
	"CAP_FOWNER",       // its mode
	"CAP_KILL",         // the server
	"CAP_SETGID",       // its start
	"CAP_SETUID",
}

// MaxPIDs is how many processes and threads a sandbox may have.
const MaxPIDs = 4096

// Bind is a directory or a file of the machine that is seen inside.
type Bind struct {
	Source, Target string
	Writable       bool
}

// spec is the OCI runtime's configuration: what is inside, and what of it may be done.
func (s *Sandbox) spec() (*specs.Spec, error) {
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(s.FirstID), Size: Size}}
	pids := int64(MaxPIDs)
	spec := &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: s.root(), Readonly: true},
		Process: &specs.Process{
			Args: append([]string{InitPath, "init"}, s.Guest...), Cwd: "/",
			Env:             []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=" + GuestPath},
			NoNewPrivileges: true,
			Capabilities:    &specs.LinuxCapabilities{Bounding: Capabilities, Effective: Capabilities, Permitted: Capabilities},
			Rlimits:         []specs.POSIXRlimit{{Type: "RLIMIT_CORE"}},
		},
		Hostname: s.Hostname,
		Mounts:   append(s.systemMounts(), s.binds()...),
		Linux: &specs.Linux{
			UIDMappings: ids, GIDMappings: ids,
			CgroupsPath: s.Cgroup,
			Resources:   &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: pids}, Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.UserNamespace}, {Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace}, {Type: specs.CgroupNamespace}, {Type: specs.NetworkNamespace, Path: s.Network},
			},
			MaskedPaths:   maskedPaths,
			ReadonlyPaths: readonlyPaths,
		},
	}
	filter, err := seccomp.GetDefaultProfile(spec)
	if err != nil {
		return nil, err
	}
	filter.Architectures = filter.Architectures[:min(1, len(filter.Architectures))] // the machine's own: no program of another is here, and each makes the start slower
	spec.Linux.Seccomp = filter
	return spec, nil
}

// What of /proc tells of the machine, or changes it. The runtimes' own lists; /proc itself hides other users' processes.
var (
	maskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
		"/proc/timer_list", "/proc/timer_stats",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// systemMounts are what every Linux program expects to be there. What is in memory counts against the sandbox's limit of it.
func (s *Sandbox) systemMounts() []specs.Mount {
	memory := func(at string, options ...string) specs.Mount {
		return specs.Mount{Destination: at, Type: "tmpfs", Source: "tmpfs", Options: append([]string{"nosuid", "nodev"}, options...)}
	}
	return []specs.Mount{
		// Root inside is in group 0, and sees all processes; the server its own.
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev", "hidepid=2", "gid=0"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=64k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
		memory("/dev/shm", "noexec", "mode=1777"),
		memory("/tmp", "mode=1777"),
		memory("/run", "mode=755"),
	}
}

func (s *Sandbox) binds() []specs.Mount {
	var mounts []specs.Mount
	for _, b := range s.allBinds() {
		options := []string{"rbind", "rprivate", "nosuid", "nodev"}
		if !b.Writable {
			options = append(options, "rro") // what is mounted below it, too
		}
		mounts = append(mounts, specs.Mount{Destination: b.Target, Type: "bind", Source: b.Source, Options: options})
	}
	return mounts
}

// allBinds are the system, then what is the instance's own.
func (s *Sandbox) allBinds() []Bind {
	var all []Bind
	for _, dir := range []string{"/usr", "/etc", "/var/lib/dpkg"} {
		all = append(all, Bind{Source: filepath.Join("/", s.Tree, dir), Target: dir})
	}
	for _, name := range []string{"passwd", "group", "hosts"} {
		all = append(all, Bind{Source: filepath.Join(s.Dir, name), Target: "/etc/" + name})
	}
	return append(append(all, Bind{Source: s.Init, Target: InitPath}, Bind{Source: filepath.Join(s.Dir, etcDir), Target: EtcPath}), s.Binds...)
}
