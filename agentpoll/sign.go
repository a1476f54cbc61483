package agentpoll

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// signed is the text that a command's signature is of: everything that says what is done, by whom, and until when it may be begun.
// Fence and Traceparent decide nothing and are left out. Args count as the bytes that they are.
func (c Command) signed(agentID string) []byte {
	digest := func(b []byte) string {
		sum := sha256.Sum256(b)
		return hex.EncodeToString(sum[:])
	}
	return []byte(strings.Join([]string{
		"coffer agentpoll v1 signed command", agentID, c.ID, c.Method, c.Deadline.UTC().Format(time.RFC3339Nano), digest(c.Args), digest(c.Sealed),
	}, "\n"))
}

// Sign makes the command one of the gateways', whose key it is, for this agent.
func (c *Command) Sign(key ed25519.PrivateKey, agentID string) {
	c.Signature = ed25519.Sign(key, c.signed(agentID))
}

// SignedBy reports whether one of the keys, 32 bytes each, has signed the command for this agent.
func (c Command) SignedBy(keys [][]byte, agentID string) bool {
	text := c.signed(agentID)
	for _, key := range keys {
		if len(key) == ed25519.PublicKeySize && ed25519.Verify(key, text, c.Signature) {
			return true
		}
	}
	return false
}
