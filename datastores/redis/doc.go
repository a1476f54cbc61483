// Package redis is the datastore of Redis 7 and Valkey 8: one server with append-only file, closed to everybody but the
// guest until root is enabled or a user is made.
//
// Root is the default user, so that plain `AUTH password` works, and is called "-", as Trove calls it. Users are ACL
// users with the rights of root: everything but administration, see tenantRules. There are no databases in Trove's sense.
// Only hashes of passwords are kept, so Trove's get_root_password has no place here.
//
// Redis replicates data, not users: a replica's guest copies users and root from the source, by hash, when it is attached,
// when it is asked to come to a position, and before it is promoted. See replication.go.
//
// TLS has a port of its own, see tls.go and docs/datastores.md.
package redis
