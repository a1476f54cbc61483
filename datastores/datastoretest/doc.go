// Package datastoretest is the one suite that every datastore passes, in this repository or in anybody's: [Run] takes
// a [Harness] and tests what the contract of [github.com/cofferdb/coffer/datastores] promises, capability by
// capability, against the real server. [Memory] is a datastore without a server that passes it too.
//
// What is tested follows from the plug-in's manifest. A test that a datastore cannot pass by its nature is taken away by an
// [Exception], which is printed with its reason; an exception that takes nothing away is an error. To run one test:
//
//	go test -run 'TestSuite/restore$/mysql_impl/mysqldump'
package datastoretest
