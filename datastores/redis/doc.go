// Package redis is the datastore of Redis 7: one server with append-only file, closed to everybody but the guest until
// root is enabled. Redis has no databases or users in Trove's sense; root is the default user, so that plain
// `AUTH password` works, and is called "-".
package redis
