// Package datastoretest is the one suite that every datastore passes, in this repository or in anybody's: [Run] takes
// a [Harness] and tests what the contract of [github.com/cofferdb/coffer/datastores] promises, capability by
// capability, against the real server. Package inmemory is a datastore without a server that passes it too.
//
// What is tested follows from the plug-in's manifest. A test that a datastore cannot pass by its nature is taken away by an
// [Exception], which is printed with its reason; an exception that takes nothing away is an error. What the harness has nothing
// for is skipped. After a test that has failed the next one gets other servers. To run one test:
//
//	go test -run 'TestSuite/restore$/mysql_impl/mysqldump'
//
// The tests, in their order. Those of backups and replication are run with each strategy.
//
//   - prepare cut short: prepare ends at each of its steps, and is done again
//   - prepare again: prepare of a server that runs
//   - process: parts sockets, user, control groups, size, output, leftovers: what the kernel knows of the server
//   - closed to strangers: nobody gets in without an account
//   - start and stop: either twice, and what was written is kept
//   - outlives its manager: the server goes on when a guest is replaced
//   - status beside anything: status while the server starts and stops
//   - cancelled: calls whose context is over
//   - killed: SIGKILL: seen, and what was written is kept
//   - kinds of writes: each of the kinds stores what it says, and finds it
//   - memory: a resize is used, and what was written is kept
//   - databases: create, list, delete
//   - database names: hostile names are made verbatim or refused
//   - databases alike: names that differ in case or trailing signs are one or two, never mixed up
//   - databases cut short: calls that end early, and their repeats
//   - users: create, show, list, delete
//   - change users: parts password, name
//   - user names: as database names
//   - users alike: as databases alike
//   - passwords: hostile passwords work or are refused
//   - users cut short: as databases cut short
//   - sessions: they end with what let them in
//   - delete in use: what a session uses can be deleted
//   - half a delete: a delete is done wholly or not at all, and says what is in the way
//   - access: grant, list, revoke
//   - access together: users of one database share what is in it
//   - root: enable, disable
//   - parameters: the table of parameters
//   - dynamic parameters: in force at once, and kept
//   - static parameters: a restart is asked for as long as it is needed
//   - overrides cut short: calls that end early, and their repeats
//   - overrides of a stopped server: in force when it starts
//   - overrides with which no server starts: refused, or the start fails
//   - falling back cut short: the values before, again and again
//   - overrides at prepare: in force when prepare returns
//   - all connections taken: calls work or say that they cannot
//   - logs: system logs are there, and on
//   - user logs: on, off, and what is in them
//   - modules: each type is applied, changed and removed, and leaves nothing
//   - restore: all is there, and independent of its source
//   - root after a restore: as it was, and can be shut out
//   - backup beside writes: it holds one moment, and hinders nobody
//   - backup that fails: its reason is told, and nothing else is hurt
//   - backup cancelled: it ends
//   - backup of a killed server: it ends, and another can be made
//   - incremental backups: all of a chain is there
//   - restore cut short: it ends at each of its steps, and is done again
//   - restore of a damaged backup: its reason is told, and a good one can be restored
//   - check: whole data is found whole, twice the same, and nothing of it is changed
//   - replica: it has what its source has
//   - replica refuses tenants: it takes no writes
//   - replica refuses root: nor root's
//   - replica survives restarts: its own, its source's, and SIGKILL
//   - second replica: made while tenants write
//   - read-only source: it refuses tenants and root through restarts and SIGKILL
//   - replica is watched: it says whether it follows, and why not when its source is gone
//   - replication methods twice: each call again
//   - replica by tls: it takes no source's certificate but of its CA
//   - promotion: nothing acknowledged is lost, not by SIGKILL after it either
//   - promotion cut short: its calls end early, and are repeated
//   - former source that was not fenced: it comes back, or is refused
//   - detach: a replica becomes independent
//   - tls: offered, alone and off, with certificates that are renewed, through restarts
//   - tls of a stopped server: in force when it starts
//   - upgrade: data of an older version is taken over, and not given back
package datastoretest
