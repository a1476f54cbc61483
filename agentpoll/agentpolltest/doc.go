// Package agentpolltest helps to test either side of the agent protocol: a [Backend] in memory for the real server, and
// a [Server] that an agent can be pointed at, with faults to inject.
package agentpolltest
