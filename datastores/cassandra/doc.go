// Package cassandra is the datastore of Apache Cassandra 4.1 and 5.0: one server, whose keyspaces are the databases.
//
// The server starts closed: its first start, and the first after a restore, is behind a certificate that only the guest has, until
// the guest's own superuser is there; see admit.go. The account that a new server has by default is never made.
//
// Root is the superuser "cassandra", as Trove has it. Users are roles without superuser rights; access to a database is what the
// role may do with the keyspace and with everything inside it.
//
// The server has no way to end one session: where a session must end, all do, see sessions.go. What nodetool is needed for goes
// through a port of the instance's address, with a password, see nodetool.go.
package cassandra
