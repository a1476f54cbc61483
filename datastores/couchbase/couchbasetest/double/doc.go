// Package double is a double of Couchbase Server: a program that does what the engine couchbase needs of couchbase-server and
// cbbackupmgr, as Couchbase's documents have it. It is not Couchbase, and nothing that it shows is true of Couchbase for that reason alone.
//
// It speaks the management REST at port 8091, with Basic authentication and the three roles that each edition has: admin, ro_admin and
// bucket_full_access. What it does not know it refuses. Its state is in its working directory, which stands for /opt/couchbase/var, and
// is written before it is acknowledged; documents are, when the durability of their bucket asks for it, see store.go. Tenants reach documents by the
// web console's endpoint /pools/default/buckets/NAME/docs: a Couchbase Server has that too, and clients that speak memcached's protocol, which the double does not.
//
// The node that is asked for a rebalance does it, and no other one tells how far it is. Writes wait meanwhile.
//
// Nodes of one cluster speak to each other at port 21100, in a way of their own, see peers.go. There are 64 vBuckets instead of 1024, and no
// services but data.
package double
