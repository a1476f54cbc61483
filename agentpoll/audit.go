package agentpoll

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"
)

// MethodAudit asks an agent for the rows that it keeps of the commands that it has run: AuditArgs -> AuditReply. Every agent that keeps rows
// answers it itself, whatever it manages. An older one answers Unsupported.
const MethodAudit = "audit"

// AuditPage is how many rows an AuditReply holds at most.
const AuditPage = 250

// Row is what an agent keeps of a command that changes something and has ended: never an argument or a value, only digests that nobody can
// make, or try guesses against, without the key of the agent's commands.
type Row struct {
	Seq     int64     `json:"seq"` // 1 is the first of the chain
	ID      string    `json:"id"`
	Method  string    `json:"method"`
	At      time.Time `json:"at"`                // when it ended, by the agent's clock
	Command []byte    `json:"command,omitempty"` // see [Command.Digest]
	Result  []byte    `json:"result,omitempty"`  // see [Result.Digest]
	// Link is the SHA-256 of the link before and of all the above. The link before the first is the chain's name.
	Link []byte `json:"link"`
}

// Mark is a row's place in its agent's chain. A result carries it: the gateways keep it, and the agent can tell no other story afterwards.
type Mark struct {
	Chain string `json:"chain"` // random; another one is begun when the agent has lost the former
	Seq   int64  `json:"seq"`
	Link  []byte `json:"link"`
}

// AuditArgs asks for the rows behind number After.
type AuditArgs struct {
	After int64 `json:"after,omitempty"`
}

// AuditReply holds rows in the order of the chain.
type AuditReply struct {
	Floor Mark  `json:"floor"` // the last row that is not kept any more; Seq 0: all are
	Rows  []Row `json:"rows,omitempty"`
	More  bool  `json:"more,omitempty"`
}

// NewChain begins a chain: the place before its first row.
func NewChain() Mark {
	name := rand.Text()
	return Mark{Chain: name, Link: []byte(name)}
}

// Next puts a row behind m. The new place is returned.
func (m Mark) Next(r *Row) Mark {
	r.Seq = m.Seq + 1
	r.Link = r.LinkedTo(m.Link)
	return Mark{Chain: m.Chain, Seq: r.Seq, Link: r.Link}
}

// LinkedTo is what the row's link must be behind another.
func (r Row) LinkedTo(link []byte) []byte {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "coffer agentpoll v1 row\n%x\n%d\n%q\n%q\n%s\n%x\n%x", link, r.Seq, r.ID, r.Method, r.At.UTC().Format(time.RFC3339Nano), r.Command, r.Result)
	return h.Sum(nil)
}

// Digest is a digest of all that [Command.Sign] covers, which takes the same key; nil without one.
func (c Command) Digest(key []byte, agentID string) []byte {
	if len(key) != sha256.Size {
		return nil
	}
	return c.digest("audit", key, agentID)
}

// Digest is a digest of the result of a command, as it travels, but for its mark. It is the same at both ends; nil without a key.
func (r Result) Digest(key []byte, agentID, commandID string) []byte {
	r.Audit = nil
	sent, err := json.Marshal(r)
	var got Result
	if err == nil {
		err = json.Unmarshal(sent, &got) // what is no UTF-8 is another text behind the wire
	}
	if err == nil {
		sent, err = json.Marshal(got)
	}
	if err != nil || len(key) != sha256.Size {
		return nil
	}
	h := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(h, "coffer agentpoll v1 result\n%s\n%s\n%s", agentID, commandID, sent)
	return h.Sum(nil)
}
