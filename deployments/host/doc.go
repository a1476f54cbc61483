// Package host is the runtime of a host: the agent that launches, limits, supervises and removes the guests of one Linux
// machine. Its contract is [github.com/cofferdb/coffer/deployments].
//
// # What an instance is
//
// One directory, `<dir>/instances/<id>`:
//
//	state.json    what was asked for and what it got; written before anything else is made, removed after all else
//	guest.json    the guest's configuration, 0600, with its enrolment token
//	guest.log     what the guest prints, bounded; guest.log.1 is the part before
//	guest.pid     which process the guest is
//	guest/        the guest's own directory
//	volume.img    the volume, when there is one
//	root/         the instance's root; the mount point lies below it
//	sandbox/      of the driver oci: the runtime's configuration, and the guest's, instead of guest.json and guest.pid
//
// The driver oci puts it in a sandbox: see [github.com/cofferdb/coffer/deployments/host/sandbox]. What the machine does not allow keeps the
// host from starting.
//
// The driver process gives it, where the machine allows, a user id without a passwd entry, control groups `coffer/<id>`, and
// a chain in the nftables table `inet coffer`. What the machine does not allow becomes a note of the reply, never a failure.
//
// With both, a volume, once it is there, must be there again before the guest is started.
//
// # Who owns what
//
// Guests and database servers, or the sandbox that they are in, outlive the host agent, which finds them again by pid file. Under systemd the host's unit therefore needs KillMode=process, and must not have a mount namespace of
// its own (PrivateTmp, ProtectSystem, …), or the volumes would be mounted where nobody else sees them.
//
// Each instance has a lock; a launch, a resize, a remove and the supervisor hold it while they work on that instance, and
// nothing else does. Everything that a launch does is done again, without harm, by the next launch of the same instance, and
// by the supervisor whenever it finds that a guest has ended.
//
// # What changes while it runs
//
// A volume grows while it is mounted where the kernel permits that (ext4 asks for CAP_SYS_RESOURCE), else unmounted, once the
// database server is stopped. The file of a volume that is checked or grown is locked through the program that does it, so
// that a host started meanwhile does not mount it; state.json says that a grow has begun, and it is finished before the next
// mount. A guest whose binary was replaced by one that describes itself is started anew from it.
package host
