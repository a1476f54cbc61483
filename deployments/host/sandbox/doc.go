// Package sandbox puts one instance behind walls of the kernel, through an OCI runtime (runc) of the distribution.
//
// # What is inside
//
//	/usr, /etc, …            the machine's own system directories, read-only, without its accounts
//	/opt/coffer/init         the init of the sandbox: this program, process 1
//	/opt/coffer/guests       guest binaries, by digest, read-only
//	/opt/coffer/etc          the guest's configuration, and a link to the binary that it is started from; read-only
//	/var/lib/coffer-guest    the guest's own directory
//	the mount point          the volume
//	/tmp, /run, /dev/shm     empty, in memory, private
//
// The guest is root of its own user namespace and holds the [Capabilities]; the database server is user [ServerID] there. Both,
// and every tool they start, are descendants of the init, share its control group, and end with it.
//
// # Who is who outside
//
// Id n inside is id first+n outside, where first belongs to the instance alone: see [IDs]. Root inside is nobody outside.
//
// # What outlives what
//
// The init outlives the program that started the sandbox, and starts the guest again when it ends. The database server
// outlives the guest.
package sandbox
