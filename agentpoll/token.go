package agentpoll

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Token is an enrolment token: a secret that is used once, and the CAs by which the agent knows the gateways. So an agent needs no
// other trust, and whoever takes the gateways' name or port gets nothing from it.
type Token struct {
	Secret string   // made by [NewSecret]; gateways store its [HashSecret], and it alone is sent
	CAs    []string // hex SHA-256 of each certificate (DER); empty: the agent must know the gateways otherwise
}

const tokenPrefix = "enrol1." // a format number, and a mark for secret scanners

// String is the text that an operator, a host or cloud-init passes on: a secret. Without CAs it is the secret alone, as it was before
// tokens had any.
func (t Token) String() string {
	if len(t.CAs) == 0 {
		return t.Secret
	}
	text := tokenPrefix + t.Secret
	for _, ca := range t.CAs {
		sum, _ := hex.DecodeString(ca) // whoever made the token has checked it
		text += "." + base64.RawURLEncoding.EncodeToString(sum)
	}
	return text
}

var errToken = errors.New("the enrolment token cannot be read: was it cut, or is it of a newer Coffer?")

// ParseToken reads what [Token.String] wrote, also a secret alone.
func ParseToken(text string) (Token, error) {
	rest, marked := strings.CutPrefix(text, tokenPrefix)
	if !marked {
		if strings.Contains(text, ".") {
			return Token{}, errToken
		}
		return Token{Secret: text}, nil
	}
	parts := strings.Split(rest, ".")
	t := Token{Secret: parts[0]}
	for _, part := range parts[1:] {
		sum, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || len(sum) != sha256.Size {
			return Token{}, errToken
		}
		t.CAs = append(t.CAs, hex.EncodeToString(sum))
	}
	if len(t.Secret) != 43 || len(t.CAs) == 0 {
		return Token{}, errToken
	}
	return t, nil
}

// Trust is what an agent believes of gateways from now on. It comes with the enrolment and with each rotation.
type Trust struct {
	// CAs replace those that the agent knew: hex SHA-256 of certificates (DER). There are two while one takes the other's place.
	// Empty: nothing changes.
	CAs []string `json:"cas,omitempty"`
	// CommandKeys are X25519 public keys of the gateways, of which each makes an agent's [CommandKey]. An agent that knows one obeys
	// nothing that is not signed. Empty: nothing changes.
	CommandKeys [][]byte `json:"command_keys,omitempty"`
}

// ParseCAs reads a list of fingerprints, hex SHA-256 with commas between them.
func ParseCAs(text string) ([]string, error) {
	var all []string
	for ca := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		ca = strings.ToLower(ca)
		if b, err := hex.DecodeString(ca); err != nil || len(b) != sha256.Size {
			return nil, fmt.Errorf("%q is not the SHA-256 of a certificate in hex, 64 characters", ca)
		}
		all = append(all, ca)
	}
	return all, nil
}
