// Package datastoretest is the one suite that every datastore passes, in this repository or in anybody's: [Run] takes
// a [Harness] and tests what the contract of [github.com/cofferdb/coffer/datastores] promises, capability by
// capability, against the real server. [Memory] is a datastore without a server that passes it too.
package datastoretest
