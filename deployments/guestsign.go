package deployments

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// SignatureSuffix is what the name of a guest binary's signature has beside the binary's own: redis-guest.sig.
const SignatureSuffix = ".sig"

// signed is what is signed of a guest binary: for which manager it is good, and its SHA-256 in hexadecimal digits.
func signed(manager, digest string) []byte {
	return []byte("coffer guest v1\n" + manager + "\n" + digest + "\n")
}

// SignGuest makes the text of a guest binary's signature.
func SignGuest(key ed25519.PrivateKey, manager, digest string) string {
	return base64.StdEncoding.EncodeToString(ed25519.Sign(key, signed(manager, digest))) + "\n"
}

// VerifyGuest returns an error unless signature is one of the keys' for that manager and digest.
func VerifyGuest(keys []ed25519.PublicKey, manager, digest, signature string) error {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(signature))
	if err != nil || len(raw) != ed25519.SignatureSize {
		return errors.New("the signature is none: want what `coffer guest sign` writes")
	}
	for _, key := range keys {
		if ed25519.Verify(key, signed(manager, digest), raw) {
			return nil
		}
	}
	return errors.New("the signature is not of a key that this host trusts, or not of this binary")
}

// ParseGuestKey reads a public key as `coffer guest key` prints it: 32 bytes in base64.
func ParseGuestKey(text string) (ed25519.PublicKey, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("guest key %q: want 32 bytes in base64, as `coffer guest key` prints them", text)
	}
	return raw, nil
}
