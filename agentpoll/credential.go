package agentpoll

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
)

// Credential is what an agent proves itself with: its id and 32 random bytes that it made itself. It travels in the
// Authorization header only; gateways store [Credential.Hash].
type Credential struct {
	AgentID string
	Secret  string // base64url, 43 characters
}

// GatewayName is the DNS name in every certificate that the gateways' own authority signs, and in no other: who pins that
// authority may reach a gateway under any address.
const GatewayName = "gateway.coffer.internal"

const credentialPrefix = "coffer1." // a format number, and a mark for secret scanners

// NewSecret makes the secret half of a credential, or an enrolment token: 32 random bytes in base64url.
func NewSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(b)
}

// HashSecret is what is stored of a secret made by [NewSecret]: SHA-256 in hex. The secret has 256 bits of entropy, so
// a slow hash would add nothing.
func HashSecret(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(h[:])
}

// Hash is [HashSecret] of the credential's secret.
func (c Credential) Hash() string { return HashSecret(c.Secret) }

// Matches tells in constant time whether hash is the credential's.
func (c Credential) Matches(hash string) bool {
	return subtle.ConstantTimeCompare([]byte(c.Hash()), []byte(hash)) == 1
}

// Header is the value of the Authorization header.
func (c Credential) Header() string { return "Bearer " + credentialPrefix + c.AgentID + "." + c.Secret }

// String hides the secret, so that a credential can be logged by mistake.
func (c Credential) String() string { return c.AgentID + ".***" }

// ErrNoCredential is returned by [ParseHeader] when the header holds none.
var ErrNoCredential = errors.New("the Authorization header holds no agent credential")

// ParseHeader reads what [Credential.Header] writes.
func ParseHeader(header string) (Credential, error) {
	rest, ok := strings.CutPrefix(header, "Bearer "+credentialPrefix)
	if !ok {
		return Credential{}, ErrNoCredential
	}
	id, secret, ok := strings.Cut(rest, ".")
	if !ok || id == "" || len(secret) != 43 {
		return Credential{}, ErrNoCredential
	}
	return Credential{AgentID: id, Secret: secret}, nil
}
