package agentpoll

import (
	"encoding/json"
	"time"
)

// The calls of the protocol. Every one but enroll needs an Authorization header, see [Credential.Header].
// {id} is a command's id. Identity comes from the credential alone, never from a path or a body.
const (
	PathEnroll   = "/agent/v1/enroll"                 // POST EnrollRequest -> 200 EnrollReply
	PathPoll     = "/agent/v1/poll"                   // POST PollRequest -> 200 PollReply, or 204 with HeaderCursor
	PathProgress = "/agent/v1/commands/{id}/progress" // POST Progress -> 204
	PathResult   = "/agent/v1/commands/{id}/result"   // POST Result -> 204; 410 when nobody waits for it any more
	PathRotate   = "/agent/v1/rotate"                 // POST RotateRequest -> 200 RotateReply
	// PathCertificate: POST CertificateRequest -> 200 CertificateReply. 404: a gateway of an earlier version.
	PathCertificate = "/agent/v1/certificate"

	// A backup in segments, and the published part of a log in chunks: bytes, numbered. PUT -> 204, GET -> 200; both may
	// answer 307 to a pre-signed URL, to which the Authorization header must not go. A PUT carries HeaderSHA256, and may be
	// repeated. 404: no such segment; 409: the backup is not being made or restored by this agent; 422: damaged on the way.
	PathSegment  = "/agent/v1/backups/{id}/segments/{n}"
	PathLogChunk = "/agent/v1/logs/{id}/chunks/{n}" // {id} is the log's name. PUT, and DELETE of /agent/v1/logs/{id} for all
)

// Headers of the protocol.
const (
	// HeaderCursor carries the new cursor of a 204 answer to a poll, in the form of [Cursor.String].
	HeaderCursor = "Coffer-Cursor"
	// HeaderHold carries, on a 204, the hold of the next poll in milliseconds: see [PollReply.Hold].
	HeaderHold = "Coffer-Hold"
	// HeaderSHA256 carries the SHA-256 of a segment's bytes, in hexadecimal digits.
	HeaderSHA256 = "Coffer-SHA256"
)

// Limits that a gateway enforces on what agents send.
const (
	MaxBody   = 1 << 20 // bytes of a request body; more is 413
	MaxHeader = 8 << 10 // bytes of all headers
	// MaxSegment is the most bytes of a segment's or chunk's body. Agents cut at 8 MiB; an index may be longer.
	MaxSegment = 64 << 20
	// MaxCSR is the most bytes of a certificate request.
	MaxCSR = 4 << 10
)

// Kind says what an agent manages.
type Kind string

const (
	Guest Kind = "guest" // one database server
	Host  Kind = "host"  // the guests of one machine
)

// EnrollRequest turns a single-use token into an enrolled agent. The agent makes its own credential and keys, so no
// answer carries a secret; repeating the same request (same token, same credential hash) gets the same answer, so an
// agent that lost the answer just asks again.
type EnrollRequest struct {
	Token          string          `json:"token"` // see Token.Secret
	Kind           Kind            `json:"kind"`
	CredentialHash string          `json:"credential_hash"` // see Credential.Hash
	PublicKey      []byte          `json:"public_key"`      // HPKE X25519, 32 bytes
	Version        string          `json:"version"`         // of the agent's binary
	Manifest       json.RawMessage `json:"manifest,omitempty"`
	// Manifest is a datastores.Manifest from a guest, a deployments.Announcement from a host.
}

// EnrollReply says who the agent is now.
type EnrollReply struct {
	AgentID string `json:"agent_id"` // a UUID; a guest's is its instance's id
	// Options are the effective options: of a guest its guest options, of a host nothing so far.
	Options json.RawMessage `json:"options,omitempty"`
	Trust   *Trust          `json:"trust,omitempty"`
}

// PollRequest asks for commands. One poll of an agent is live at a time: a newer one ends the older with 204.
type PollRequest struct {
	Cursor Cursor `json:"cursor"`
	// Status is sent when it changed since the last poll that was answered, and with the first poll of a process.
	Status json.RawMessage `json:"status,omitempty"`
	// Running lists the ids of the commands that the agent holds unfinished, so that a cancel reaches it even when
	// the command is no longer stored. At most 256.
	Running []string `json:"running,omitempty"`
}

// PollReply is the body of a 200 answer. Commands are in the order in which they must be started.
type PollReply struct {
	Commands  []Command `json:"commands,omitempty"`
	Cancelled []string  `json:"cancelled,omitempty"` // ids of commands to stop; unknown ones are ignored
	Cursor    Cursor    `json:"cursor"`
	// Hold is how long the gateway means to hold the next poll, in milliseconds. 0 means the agent's default. An
	// agent must give a poll up only some time after it (a proxy may cut it earlier; that is a plain retry).
	Hold int64 `json:"hold_ms,omitempty"`
}

// Command is one call of one method on one agent. Its id is a UUIDv7; a repeated id is the same command.
type Command struct {
	ID     string          `json:"id"`
	Method string          `json:"method"` // Trove's RPC name where Trove has one
	Args   json.RawMessage `json:"args,omitempty"`
	// Sealed replaces Args when they hold a secret: HPKE to the agent's public key, bound to ID.
	Sealed []byte `json:"sealed,omitempty"`
	// Deadline is when the gateway stops waiting; the agent should not start the command after it.
	Deadline time.Time `json:"deadline"`
	// NotBefore is the etcd revision that enqueued the command. It only grows for one agent; set at delivery.
	NotBefore   int64  `json:"fence,omitempty"`
	Traceparent string `json:"traceparent,omitempty"` // W3C trace context
	// MAC is the gateways', see [Command.Sign]. An agent that was told a key runs nothing without.
	MAC []byte `json:"mac,omitempty"`
}

// Progress tells how far a long command has come. Agents must not send more than one a second for one command.
type Progress struct {
	Done    int64  `json:"done"`
	Total   int64  `json:"total,omitempty"` // 0: unknown
	Unit    string `json:"unit,omitempty"`  // "bytes", "steps"
	Message string `json:"message,omitempty"`
}

// Result is how a command ended: with a Value or with an Error. The same result twice is the same answer.
type Result struct {
	Value json.RawMessage `json:"value,omitempty"`
	Error *Error          `json:"error,omitempty"`
	// Audit is the place of the command's row in the agent's chain; nil: the agent keeps none of it.
	Audit *Mark `json:"audit,omitempty"`
}

// RotateRequest replaces the agent's credential. Sequence is the number of the credential in use (1 at enrolment): a
// lower one than the gateway knows means that two agents share an identity, and locks both.
type RotateRequest struct {
	Sequence       int64  `json:"sequence"`
	CredentialHash string `json:"credential_hash"` // of the new credential
}

// RotateReply confirms the new credential. The old one dies when the new one is first used.
type RotateReply struct {
	Sequence int64  `json:"sequence"` // of the new credential
	Trust    *Trust `json:"trust,omitempty"`
}

// CertificateRequest asks for a certificate for the guest's server.
type CertificateRequest struct {
	// CSR is a PKCS #10 request in DER, for a P-256 key and signed with it, of at most MaxCSR bytes. Nothing but its key is used: what
	// the certificate is for the gateway knows.
	CSR []byte `json:"csr"`
}

// CertificateReply holds what was signed.
type CertificateReply struct {
	Certificate string `json:"certificate"` // PEM
	CA          string `json:"ca"`          // the certificate of the project's CA, PEM
}
