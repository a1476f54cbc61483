package datastores

import (
	"maps"
	"time"
)

// Role is a server's part in replication, as the server itself sees it.
type Role string

const (
	RoleSource  Role = "source"  // it follows nobody, whether anybody follows it or not
	RoleReplica Role = "replica" // it was told to follow another one
)

// Lag is how far a replica is behind its source, by unit, as far as the replica knows. A unit that the engine does not tell is left
// out.
type Lag map[LagUnit]int64

// LagUnit is what a lag is counted in.
type LagUnit string

const (
	Seconds      LagUnit = "seconds"
	Bytes        LagUnit = "bytes" // of the source's log
	Transactions LagUnit = "transactions"
)

// Following is how a server gets on with the one that it follows, as the server itself sees it.
type Following struct {
	Role Role `json:"role"`
	// Follows: it is connected to its source and applies what comes. False for a source.
	Follows bool `json:"follows,omitempty"`
	// Why says, of a replica that does not follow, why not, in the engine's words. A manager leaves out what may be a row or a
	// statement; the guest runtime cleans it as [Told] does.
	Why string `json:"why,omitempty"`
	Lag Lag    `json:"lag,omitempty"`
	// Since is filled by the guest runtime: since when it has, as far as that knows, been as Role and Follows say.
	Since time.Time `json:"since,omitzero"`

	// At is how far the replica has come; it changes whenever anything was applied. Waits: the replica has received what it has not
	// applied. By these the guest runtime sees that a replica stands still which, as its engine says, follows.
	At    string `json:"-"`
	Waits bool   `json:"-"`
}

// Same reports whether f and g tell a gateway the same. Either may be nil.
func (f *Following) Same(g *Following) bool {
	if f == nil || g == nil {
		return f == g
	}
	return f.Role == g.Role && f.Follows == g.Follows && f.Why == g.Why && maps.Equal(f.Lag, g.Lag) && f.Since.Equal(g.Since)
}
