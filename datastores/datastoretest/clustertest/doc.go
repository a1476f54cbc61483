// Package clustertest is the suite's stage for datastores whose servers can be clusters, [datastores.Cluster]: [Run] takes a [Harness],
// makes a cluster of real servers as the gateway does, and does to it what happens to clusters, while a client writes numbered rows
// and counts those that were acknowledged. Whatever happens, each of them must be there afterwards, seen from every member.
// How long there was no write is printed. After a test that has failed the next one gets another cluster.
//
// Every join, leave and settle is called twice, the second time by a new manager, as of a guest that has crashed. The tests, in
// their order:
//
//   - found: members are prepared at once and join; the cluster takes rows
//   - restart: each server is stopped and started, one after the other
//   - killed: a server is killed and comes back; the others went on
//   - cut off: a member that does not reach the others acknowledges nothing, and says so
//   - outside of a quorum: all but one are killed; that one acknowledges nothing, and says so
//   - all are killed: all servers are killed and started
//   - all are stopped: all servers are stopped and started, one after the other and at once
//   - backup: another cluster begins with a backup that one member has made, where that is what the datastore's backups of clusters are
//   - grow: members join
//   - shrink: members leave, and take no writes from then on
//   - lost: a member is gone for good, and another one comes in its place
package clustertest
