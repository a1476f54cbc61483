// Package datastores is the contract of a datastore: what a guest can be asked, and what a datastore's author writes.
//
// A datastore is one Go package, one manifest and one guest binary, in this repository or in anybody's. The package
// has an options struct with defaults and a constructor of its [Manager]; [NewPlugin] makes one entity of them. The
// binary's main is three lines:
//
//	func main() {
//		guest.Main(redis.Plugin())
//	}
//
// [Manager] is small and required. Everything else that a datastore may be able to do is an optional interface
// ([Databases], [Users], [Access], [Root], …), found once by type assertion. What a manager does not implement it does
// not mention: the gateway refuses the call with 501 before anything is sent.
//
// What is the same for every datastore is done once, above the manager, in
// [github.com/cofferdb/coffer/datastores/guest]: dispatch, paging, reserved names, the order of prepare, restart.
package datastores
