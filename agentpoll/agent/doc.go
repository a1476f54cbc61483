// Package agent is the polling side of agentpoll: it enrols, asks a gateway for commands, runs each exactly once as far
// as its effect goes, and answers. It knows no method of anybody; a [Handler] does. Standard library only, since every
// guest and host links it.
//
// # Stop is not cancel
//
// When the context of [Agent.Run] ends, the agent takes no more commands. A short command that runs may finish within
// [Config.Grace]; a long one is cut at once and run again, with [Command.Repeated] set, after the next start. A
// cancel comes from the gateway, is final, and is answered with [agentpoll.Cancelled].
//
// # What is on disk
//
// Three files in [Config.Dir], all 0600: "identity.json" (credential and private key), "journal" (which commands were
// accepted, and how they finished; never their arguments), and "lock", which keeps a second process from being the
// same agent.
//
// # What it costs
//
// One connection while nothing happens, and a second one for a few seconds after a result.
package agent
