// Package double is a stand-in for MongoDB's programs mongod, mongodump and mongorestore, of which no registry that the tests may use has
// a copy. It is written against MongoDB's documents, and no part of it has been compared with a mongod. It answers what they say and refuses what
// they refuse, as far as a guest and its tests ask; what it does not know it refuses.
//
// It keeps all documents in memory, and every write in a journal on the disk: what was acknowledged with j: true, or with w: "majority", which
// is the default in a replica set, is synced before. It knows users, roles and what these may do, logging in by SCRAM-SHA-256, TLS,
// the block of users' writes, and replica sets: elections by majority, reconfiguration by one voter at a time, rollback of what no majority has.
//
// It does not know: sessions, transactions, sharding, arbiters, aggregation, text and geo queries, limits of memory and of the oplog. A client sees that it offers no sessions. Its archives of dumps are its own.
package double
