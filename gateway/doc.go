// Package gateway is the stateless HTTP server: Trove's API v1.0 for tenants and operators, the agent protocol for
// guests and hosts, and nothing that is not in etcd.
//
// A request takes one way: the route table (routes.go) finds access and handler; the handler decodes and validates;
// [lifecycle.Decide] or a plain decision says what to write; [etcdschema.Store.Update] commits it in one transaction
// (apply.go); a call to a guest then waits for its result (calls.go), which any gateway may have committed (agents.go).
package gateway
