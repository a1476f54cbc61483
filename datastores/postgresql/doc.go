// Package postgresql is the datastore plug-in of PostgreSQL 15 and 17.
//
// The server runs as its own user on a volume laid out so, below [datastores.Env.DataDir]:
//
//	data/                the server's data directory. It exists only once it is complete: it is made under another name and
//	                     renamed at the end, so one that is there is never made anew
//	log/                 what the server says
//	postgresql.conf      and pg_hba.conf, pg_ident.conf: written before every start
//	.s.PGSQL.5432        the socket, for the guest; tenants come by TCP
//
// # Who gets in
//
// The guest's own account os_admin is the server's first role. It logs in through the socket by the guest's user id (peer
// with a map), so that it has no password which a restored or replicated server would have to learn. Tenants come by TCP
// with SCRAM-SHA-256 and in no other way. No password reaches the server: what it is told is the verifier, so that no log
// of the server can hold one.
//
// # Access
//
// Each database has a role os_owner_<its name>, which owns the schema public and what tenants make. Whoever has access is a
// member and works as that role in this database, so that what somebody makes is everybody's: see owners.go and
// docs/postgresql.md.
//
// # Root is a superuser
//
// As in Trove, root is handed out as the superuser root. A superuser can run programs as the server's user (COPY ...
// PROGRAM, untrusted languages), read and write what that user can, and change any role. That is taken as given, not
// fought inside the server: whoever has root has the server's user. So nothing that this user must not have is within
// its reach: it has a user id, a control group and an address of its own; the guest's own directory, the guest's
// credential and the programs belong to somebody else; it holds no secret of another instance but the replication account
// on its own source. What the server's user can write, the guest reads as hostile and below one directory only. The
// addresses, the files of access rules and the log's place are on the command line, which ALTER SYSTEM does not outdo, and
// what ALTER SYSTEM has left is thrown away at each start. Disabling root cannot take back what root did meanwhile.
package postgresql
