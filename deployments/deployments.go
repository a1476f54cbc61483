package deployments

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Methods of a host. All of them change something and hold secrets or not as said; each may be repeated.
const (
	MethodLaunch  = "launch"  // LaunchArgs (secret) -> LaunchReply
	MethodProtect = "protect" // ProtectArgs -> ProtectReply; an instance that is not there is no error
	MethodResize  = "resize"  // ResizeArgs -> ResizeReply
	MethodRemove  = "remove"  // RemoveArgs -> nothing; an instance that is not there is no error
)

// Drivers, as an announcement names them.
const (
	DriverSandbox = "oci"     // each instance in a sandbox of its own
	DriverProcess = "process" // without walls between instances: one project only
)

// How long the gateway waits for a host.
const (
	LaunchTimeout = 120 * time.Second
	ResizeTimeout = 600 * time.Second
	RemoveTimeout = 180 * time.Second
)

// Announcement is what a host says of itself at enrolment and, as the status of a poll, whenever it changes.
type Announcement struct {
	Machine
	Place // that counts when the host enrols; from then on the operator says where it is
	Offer
}

// Machine is the part of an announcement by which instances are placed. It is small, whatever the host offers.
type Machine struct {
	Name     string   `json:"name"`   // the machine's host name
	Driver   string   `json:"driver"` // how instances run, such as [DriverSandbox]
	Capacity Capacity `json:"capacity"`
	// Pool is the CIDR from which instances get their addresses. The network and broadcast addresses are not used, nor
	// is the first host address.
	Pool Pool `json:"pool"`
	// Unfiltered: the host has no firewall, so that it takes only instances that are open to everybody.
	Unfiltered bool `json:"unfiltered,omitempty"`
}

// Offer is what a host has for database servers to run with. It grows with every plug-in.
type Offer struct {
	// Managers are those whose guest binaries were found and describe themselves.
	Managers []string `json:"managers"`
	// Refused are those whose guest binaries were found and are not offered; a note says why.
	Refused []string `json:"refused,omitempty"`
	// Images are the trees of files that servers may run in, by name. The machine's own system is not among them.
	Images []string `json:"images,omitempty"`
	// Digests are the SHA-256 of those binaries, in hexadecimal digits.
	Digests map[string]string `json:"digests,omitempty"`
	// Inventory changes when the guest binaries, the images or their packages do: what the host said to [MethodCheck] before is
	// then no longer sure.
	Inventory string `json:"inventory,omitempty"`
	// Notes are for operators: what this machine cannot do ("no cgroup controllers: instances are not limited").
	Notes []string `json:"notes,omitempty"`
}

// Capacity is what a host has to give, or has given.
type Capacity struct {
	MemoryMB int `json:"memory_mb"`
	VCPUs    int `json:"vcpus"`
	DiskGB   int `json:"disk_gb"`
}

// String is a capacity for people.
func (c Capacity) String() string {
	return fmt.Sprintf("%d MB %d cpu %d GB", c.MemoryMB, c.VCPUs, c.DiskGB)
}

// LaunchArgs ask for a guest. Launching an instance that is there already changes what differs and starts a guest that
// does not run; a new Token is handed to a guest that has not enrolled.
type LaunchArgs struct {
	InstanceID string   `json:"instance_id"`
	Manager    string   `json:"manager"` // starts <manager>-guest
	Token      string   `json:"token"`   // enrolment token of the guest: the args are sealed
	Address    string   `json:"address"`
	MountPoint string   `json:"mount_point"`         // absolute; below the instance's own root
	Image      string   `json:"image,omitempty"`     // of the host's images, which the guest and the server run in; empty: the machine's own system
	Packages   []string `json:"packages,omitempty"`  // of Debian, which the host installs there when they are missing
	VolumeGB   int      `json:"volume_gb,omitempty"` // 0: a plain directory, no limit
	MemoryMB   int      `json:"memory_mb"`
	VCPUs      int      `json:"vcpus"`
	Firewall   Firewall `json:"firewall"`
}

// Firewall says who may reach the instance's address. Everything that is not allowed is dropped.
type Firewall struct {
	TCPPorts []string `json:"tcp_ports,omitempty"` // "3306", "21100-21199"
	UDPPorts []string `json:"udp_ports,omitempty"`
	ICMP     bool     `json:"icmp,omitempty"`
	// CIDRs are networks of IPv4; none: everybody, unless Closed.
	CIDRs []netip.Prefix `json:"allowed_cidrs,omitempty"`
	// Closed lets nobody in but the peers, when there are no CIDRs.
	Closed bool `json:"closed,omitempty"`
	// PeerTCPPorts are open to Peers alone, whatever CIDRs and Closed say: members of a cluster speak there to each other.
	PeerTCPPorts []string `json:"peer_tcp_ports,omitempty"`
	// Peers are addresses of instances that must get through whatever CIDRs and Closed say, and that this one must reach: source
	// and replicas, or members of a cluster.
	Peers []string `json:"peers,omitempty"`
}

// At are the same rules at the ports of another.
func (f Firewall) At(other Firewall) Firewall {
	f.TCPPorts, f.UDPPorts, f.PeerTCPPorts, f.ICMP = other.TCPPorts, other.UDPPorts, other.PeerTCPPorts, other.ICMP
	return f
}

// Open reports whether everybody may reach the ports.
func (f Firewall) Open() bool { return len(f.CIDRs) == 0 && !f.Closed }

// LaunchReply tells what the instance got.
type LaunchReply struct {
	Volume string `json:"volume"` // "loop" or "directory"
	// Notes say what was asked for and could not be had here, for the instance's timeline.
	Notes []string `json:"notes,omitempty"`
}

// ProtectArgs say anew who may reach an instance. Nothing else of it changes.
type ProtectArgs struct {
	InstanceID string   `json:"instance_id"`
	Firewall   Firewall `json:"firewall"`
}

// ProtectReply tells what came of it.
type ProtectReply struct {
	Notes []string `json:"notes,omitempty"` // as in [LaunchReply]
}

// ResizeArgs give an instance another size. The guest is started anew when its configuration changes; the database server
// is not touched, so whoever asks restarts it.
type ResizeArgs struct {
	InstanceID string `json:"instance_id"`
	VolumeGB   int    `json:"volume_gb,omitempty"` // 0: as it is; it cannot shrink
	MemoryMB   int    `json:"memory_mb,omitempty"` // 0: as it is
	VCPUs      int    `json:"vcpus,omitempty"`     // 0: as it is
	// Stopped: the database server does not run, so the volume may be unmounted.
	Stopped bool `json:"stopped,omitempty"`
}

// ResizeReply tells what came of it.
type ResizeReply struct {
	// StopFirst: the volume can grow only while the database server is stopped; nothing was changed.
	StopFirst bool     `json:"stop_first,omitempty"`
	Notes     []string `json:"notes,omitempty"`
}

// RemoveArgs name the instance to remove: its guest, its database server, its data, address and rules.
type RemoveArgs struct {
	InstanceID string `json:"instance_id"`
}

// Problems returns everything in an announcement that a gateway could not work with.
func (a Announcement) Problems() []error {
	var problems []error
	if a.Pool.IsZero() {
		problems = append(problems, errors.New("pool: want an IPv4 network such as 127.77.0.0/16"))
	}
	if a.Capacity.MemoryMB < 0 || a.Capacity.VCPUs < 0 || a.Capacity.DiskGB < 0 {
		problems = append(problems, fmt.Errorf("capacity: %+v is negative", a.Capacity))
	}
	return append(problems, a.Place.Mistakes()...)
}
