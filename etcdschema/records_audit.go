package etcdschema

import (
	"time"

	"github.com/cofferdb/coffer/agentpoll"
)

// Audit holds the newest rows of an agent.
type Audit struct {
	Since time.Time `json:"since"` // when the first row of all was written
	AuditRows
}

// AuditRows are rows in their order, one at least.
type AuditRows struct {
	Before []byte     `json:"before,omitempty"` // the link before the first of them; none before the first of all
	Rows   []AuditRow `json:"rows"`
}

// AuditRow is what the gateways keep of a command that changes something and has ended, or that was withdrawn. It holds no argument and no value.
type AuditRow struct {
	Seq       int64               `json:"seq"` // 1 is the first
	ID        string              `json:"id"`  // of the command
	Method    string              `json:"method"`
	Project   string              `json:"project,omitempty"`
	Instance  string              `json:"instance,omitempty"` // that it was about
	User      string              `json:"user,omitempty"`     // who asked; "": nobody did, such as a step that follows another
	Request   string              `json:"request,omitempty"`  // id of the request
	Asked     time.Time           `json:"asked"`
	Ended     time.Time           `json:"ended"`
	Withdrawn bool                `json:"withdrawn,omitempty"` // no result was waited for any more
	Failed    agentpoll.ErrorKind `json:"failed,omitempty"`    // how; "": it has not
	Command   []byte              `json:"command,omitempty"`   // see [agentpoll.Command.Digest]
	Result    []byte              `json:"result,omitempty"`    // see [agentpoll.Result.Digest]
	Agent     *agentpoll.Mark     `json:"agent,omitempty"`     // the place of the agent's own row; nil: it keeps none
	// Top is the highest place in the agent's chain that any row has up to this one.
	Top  agentpoll.Mark `json:"top,omitzero"`
	Link []byte         `json:"link"` // keyed, over the link before and all of the above
}
