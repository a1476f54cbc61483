package postgresql

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/cofferdb/coffer/datastores"
)

// scramIterations is the server's own default.
const scramIterations = 4096

// verifier is what the server keeps of a password (RFC 5803), which it also takes in the place of one: so no password
// reaches the server, and none can come into its logs. It is right for ASCII, see passwordRule.
func verifier(password datastores.Secret) (string, error) {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt)
	salted, err := pbkdf2.Key(sha256.New, password.Reveal(), salt, scramIterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("cannot hash a password: %w", err)
	}
	sign := func(text string) []byte {
		mac := hmac.New(sha256.New, salted)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	stored := sha256.Sum256(sign("Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", scramIterations, encode(salt), encode(stored[:]), encode(sign("Server Key"))), nil
}

// withPassword is the clause that gives a role a password.
func withPassword(password datastores.Secret) (string, error) {
	v, err := verifier(password)
	return " PASSWORD " + text(v), err
}
