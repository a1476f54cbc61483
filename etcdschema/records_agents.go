package etcdschema

import (
	"encoding/json"
	"time"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/deployments"
)

// HostRecord is a host as the gateways know it. It is written with every instance that comes and goes: what the host offers is in
// its [HostCheck].
type HostRecord struct {
	deployments.Machine
	deployments.Place                       // as it was when it enrolled, or as an operator has said since
	Enrolled          time.Time             `json:"enrolled"`
	Allocated         map[string]Allocation `json:"allocated,omitempty"` // by instance
	Disabled          bool                  `json:"disabled,omitempty"`  // takes no new instances
	Granted           *HostGrant            `json:"granted,omitempty"`   // nil: nothing was announced yet
}

// Allocation is what an instance has been given of a host.
type Allocation struct {
	deployments.Capacity
	Address string `json:"address"`
	Project string `json:"project"`
	// Left is the command that has the host remove what the instance has there no more; "": it is there.
	Left string `json:"left,omitempty"`
}

// Gateway is a running gateway.
type Gateway struct {
	Version string    `json:"version"`
	Address string    `json:"address"`
	Started time.Time `json:"started"`
	Signs   bool      `json:"signs,omitempty"` // it signs commands, and passes those of others on
	Dues    bool      `json:"dues,omitempty"`  // it gives whatever has a time a key in the due index
	// CAs are those that it names to agents: hex SHA-256. The first one has signed its certificate, when they are the gateways' own.
	CAs []string `json:"cas,omitempty"`
}

// Epoch names one history of an etcd. Restoring a snapshot goes back in history, so it needs a new one.
type Epoch struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Reason  string    `json:"reason,omitempty"`
}

// Agent is an enrolled agent.
type Agent struct {
	ID             string         `json:"id"`
	Kind           agentpoll.Kind `json:"kind"`
	Project        string         `json:"project,omitempty"` // of a guest
	CredentialHash string         `json:"credential_hash"`
	NextHash       string         `json:"next_hash,omitempty"` // accepted too, and takes over when first used
	// CAs are those that it was told to know gateways by: hex SHA-256. NextCAs were told with the next credential.
	CAs      []string `json:"cas,omitempty"`
	NextCAs  []string `json:"next_cas,omitempty"`
	Sequence int64    `json:"sequence"`
	// Retired are the credentials before this one, the last one last: whoever still uses one holds a copy, or the original of one.
	Retired   []RetiredCredential `json:"retired,omitempty"`
	PublicKey []byte              `json:"public_key"`
	Version   string              `json:"version,omitempty"`
	Manifest  json.RawMessage     `json:"manifest,omitempty"` // of a guest, without its offers
	Enrolled  time.Time           `json:"enrolled"`
	// Locked says why the agent is refused: two machines used its identity. An operator enrols it anew.
	Locked string `json:"locked,omitempty"`
}

// RetiredCredential is one that another has replaced.
type RetiredCredential struct {
	Hash     string    `json:"hash"`
	Sequence int64     `json:"sequence"`
	At       time.Time `json:"at"` // when the other was first used
}

// Enrolment is a single-use token. The agent that it makes is kept in it until the lease ends, so that an agent that
// lost the answer may ask again.
type Enrolment struct {
	Kind           agentpoll.Kind `json:"kind"`
	AgentID        string         `json:"agent_id"`
	Project        string         `json:"project,omitempty"`
	CredentialHash string         `json:"credential_hash,omitempty"` // of the agent that used it
	Created        time.Time      `json:"created"`
	// Migration is when the migration of the guest's instance began that the token is of; zero: it is of none.
	Migration time.Time `json:"migration,omitzero"`
	// Granted is what a host gets at most; nil: what it says at its first announcement.
	Granted *HostGrant `json:"granted,omitempty"`
}

// HostGrant is what an operator lets a host give: what it announces counts up to that.
type HostGrant struct {
	Capacity deployments.Capacity `json:"capacity"`      // 0: what it says
	Pool     deployments.Pool     `json:"pool,omitzero"` // the host's own must lie in it; zero: any
}

// Presence is where an agent's poll is held.
type Presence struct {
	Gateway string    `json:"gateway,omitempty"` // "": nowhere; the poll has gone with the gateway when that has left
	Since   time.Time `json:"since"`             // of nowhere: the last contact
	Judged  time.Time `json:"judged,omitzero"`   // of nowhere: when a gateway said so
}

// GatewayPolls is a gateway that holds polls.
type GatewayPolls struct {
	Left time.Time `json:"left,omitzero"` // since when it is gone; zero: it runs
}

// Opened is when agents could call again after there was no gateway at all.
type Opened struct {
	At time.Time `json:"at"`
}

// Command is a pending command with what its result changes.
type Command struct {
	agentpoll.Command
	Project  string    `json:"project,omitempty"`
	Instance string    `json:"instance,omitempty"`
	Enqueued time.Time `json:"enqueued"`
	// Set is the set whose operation waits for the result; "": none does.
	Set string `json:"set,omitempty"`
	// Step is true for a command that is a step of the instance's operation, or of the set's: its result moves the life cycle on.
	Step bool `json:"step,omitempty"`
	// User is who asked, for what the instance remembers of it; "": nobody did, such as a step that follows another.
	User string `json:"user,omitempty"`
	// Request is the id of the request that it is of.
	Request string `json:"request,omitempty"`
}

// CommandResult is how a command ended.
type CommandResult struct {
	agentpoll.Result
	Agent string    `json:"agent"`
	At    time.Time `json:"at"`
}
