// Package couchbase is the datastore of Couchbase Server 7.6 and 8.0: one node, alone or in a cluster, asked by its management REST.
//
// It was written against Couchbase's documents and has never met a Couchbase Server: no registry that the tests may use has one. They use a
// double, package couchbasetest, which is written against the same documents. So its versions are offered as inactive, until somebody has run it.
//
// A database is a bucket, whose writes are acknowledged when they are on the disk of most nodes that have them, if no option says otherwise.
// Users hold bucket_full_access on each bucket that they may use, a role that each edition has. Parameters are settings of the cluster, which the
// server takes while it runs, see parameters.go.
package couchbase
