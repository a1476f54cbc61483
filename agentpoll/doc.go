// Package agentpoll is the wire that agents and gateways speak: HTTPS and JSON under /agent/v1, dialled by the agent
// only. It imports neither side; see [github.com/cofferdb/coffer/agentpoll/agent] for the polling side and
// [github.com/cofferdb/coffer/agentpoll/server] for the gateway's.
//
// # Delivery
//
// A command is delivered at least once and takes effect exactly once. The gateway keeps it in etcd until its result is
// committed; the agent journals (with fsync) that it accepted and that it finished whatever changes something, and
// answers a repeated command from its journal. A method that only reads is simply run again.
//
// # Cursor
//
// A [Cursor] is the etcd revision up to which the agent has been told everything, with the epoch of the cluster that
// counted it. A gateway may park a poll without asking etcd when it has watched since before that revision. An agent
// must send back the cursor of the last answer it has understood, and the zero Cursor after it lost its state. When the
// epoch differs or the revision has gone back (etcd restored), the gateway answers with every pending command again.
//
// # Secrets
//
// Arguments that hold a secret travel in [Command.Sealed], encrypted with HPKE to the public key that the agent sent
// at enrolment and bound to the command's id. See [Seal].
package agentpoll
