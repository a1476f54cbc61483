// Package deployments is the contract of a host: what the agent of a machine can be asked, and what it says of its
// machine. The workings are in [github.com/cofferdb/coffer/deployments/host].
//
// A host starts a guest for each instance, with its own user, address, directory or volume, limits and firewall rules.
// It supervises the guests (a guest that ends is started again), never the database servers: those outlive both.
package deployments
