// Package gateway opens, serves and closes one stateless server: Trove's API v1.0 for tenants and operators, the agent protocol for guests and
// hosts, and nothing that is not in etcd.
//
// A request goes down and never back: package api reads it and finds out who asks; package control decides what may be done; package plan
// lists, from one decision of package lifecycle, everything that is written; package etcdschema commits it in one transaction. A call to a
// guest then waits in control for its result, which package agents takes on whichever gateway the guest polls.
package gateway
