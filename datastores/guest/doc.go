// Package guest is the runtime of a guest binary: everything between the agent that polls and the manager of one
// datastore. It does once what is the same for every datastore: it turns commands into calls of capabilities, orders
// the steps of prepare, pages lists, guards reserved names, mounts the volume, sends backups and logs, hands the data to
// another version, and keeps the server running that should run.
//
// A guest binary's main is
//
//	func main() {
//		guest.Main(redis.Plugin())
//	}
//
// The database server is no child of the guest's life: it stays when the guest stops, crashes or is replaced.
package guest
