// Package mongodb is the datastore of MongoDB 7.0 and 8.0: one mongod, which is a replica set of one member from the start, so that it has an
// oplog for backups and can be followed.
//
// It was written against MongoDB's documents and has never met a mongod: no registry that the tests may use has one. They use a
// double, package mongodbtest, which is written against the same documents. So its versions are offered as inactive, until somebody has run it.
//
// Users are in the database admin, where drivers look for them, and hold readWrite and dbAdmin on each database that they may use. A database is there
// while it has a collection, so a new one gets an empty one, see databases.go. Replicas are members that do not vote: the server alone says who is its
// primary, as the gateway wants it, see replication.go. Members of a cluster vote, and elect theirs, see cluster.go. What is made without authorization
// is made in maintenance, see maintenance.go.
package mongodb
