package agentpoll

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// CommandKey is the key of an agent's commands, which the agent and the gateways alone can make: each from its own private key and the
// other's public one. nil for a public key that is none.
func CommandKey(own *ecdh.PrivateKey, other []byte, agentID string) []byte {
	public, err := own.Curve().NewPublicKey(other)
	if err != nil {
		return nil
	}
	shared, err := own.ECDH(public)
	if err != nil {
		return nil
	}
	both := [][]byte{own.PublicKey().Bytes(), other}
	if bytes.Compare(both[0], both[1]) > 0 { // the same at both ends
		both[0], both[1] = both[1], both[0]
	}
	key, err := hkdf.Key(sha256.New, shared, bytes.Join(both, nil), "coffer agentpoll v1 commands "+agentID, sha256.Size)
	if err != nil {
		return nil
	}
	return key
}

// digest covers everything that says what is done, by whom, and until when it may be begun. NotBefore and Traceparent decide nothing and are
// left out. Args count as the bytes that they are. What it is for goes in, so that one for another purpose is no signature.
func (c Command) digest(purpose string, key []byte, agentID string) []byte {
	digest := func(b []byte) string {
		sum := sha256.Sum256(b)
		return hex.EncodeToString(sum[:])
	}
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(strings.Join([]string{
		"coffer agentpoll v1 " + purpose, agentID, c.ID, c.Method, c.Deadline.UTC().Format(time.RFC3339Nano), digest(c.Args), digest(c.Sealed),
	}, "\n")))
	return h.Sum(nil)
}

// Sign makes the command one of those who have the key, for this agent.
func (c *Command) Sign(key []byte, agentID string) { c.MAC = c.digest("command", key, agentID) }

// SignedBy reports whether somebody who has the key, which must not be empty, has signed the command for this agent.
func (c Command) SignedBy(key []byte, agentID string) bool {
	return len(key) == sha256.Size && hmac.Equal(c.MAC, c.digest("command", key, agentID))
}
