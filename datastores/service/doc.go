// Package service runs a database server for a manager: one process, detached, that outlives its guest.
//
// A [Service] starts the server in a session of its own with no pipe back to the guest, remembers it in a pid file, and
// finds it again from there: in the same guest, or in the next one after a kill -9 of the first. A guest that manages
// the server by systemd must use KillMode=process, or systemd would end the server with its guest.
//
// [Run] and [Packages] are what else a manager needs of the machine: programs by argument vector, Debian packages. Files
// are the business of package volume.
package service
