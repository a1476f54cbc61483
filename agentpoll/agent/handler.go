package agent

import (
	"context"
	"encoding/json"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// Handler runs commands. Its methods may be called concurrently: Run by at most one goroutine for the queue
// and [Config.Long] beside it.
type Handler interface {
	// Method tells how a method is run. False means that there is no such method; it is answered Unsupported.
	Method(name string) (Traits, bool)
	// Run runs a command and returns its result's value, JSON or nil. An error that wraps an *agentpoll.Error keeps
	// its kind; every other error, and a panic, becomes Internal. The value and the error's text must hold no secret:
	// both are journalled and stored.
	//
	// Run must be re-runnable after a crash half way through it, see [Command.Repeated]. It must return soon after ctx
	// ends: at the deadline, when the gateway cancels a long command, or when the agent stops.
	Run(ctx context.Context, cmd Command) (json.RawMessage, error)
}

// Traits are what the agent must know of a method.
type Traits struct {
	Long  bool // runs beside the queue, see [Config.Long], and can be cancelled while it runs
	Reads bool // changes nothing: a repeated command is run again instead of answered from the journal
}

// Command is a call of a method.
type Command struct {
	ID        string
	Method    string
	Args      json.RawMessage // opened when they came sealed
	Deadline  time.Time       // zero: none
	NotBefore int64           // see [agentpoll.Command.NotBefore]
	// Accepted is when the agent first meant to run the command. It survives a restart when the command
	// changes something.
	Accepted time.Time
	// Repeated: an earlier run may have been cut half way. Never set for a method that only reads.
	Repeated    bool
	Traceparent string
	// Progress tells the gateway how far the command has come. Never nil. It does not block; at most one report a
	// second is sent, and the last one wins. It must not be called after Run has returned.
	Progress func(agentpoll.Progress)
}
