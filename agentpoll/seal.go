package agentpoll

import (
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/rand"
	"fmt"
)

// sealInfo binds a sealed text to this protocol and to one command (RFC 9180, section 5.1: info).
func sealInfo(commandID string) []byte { return []byte("coffer agentpoll v1 command " + commandID) }

// NewKey makes an agent's key pair. The private key must stay in a file that only the agent can read.
func NewKey() (*ecdh.PrivateKey, error) { return ecdh.X25519().GenerateKey(rand.Reader) }

// Seal encrypts a command's arguments to an agent's public key (32 bytes, X25519) with HPKE in base mode:
// DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. Only [Open] with the same command id can read it.
func Seal(publicKey []byte, commandID string, args []byte) ([]byte, error) {
	pub, err := ecdh.X25519().NewPublicKey(publicKey)
	if err != nil {
		return nil, fmt.Errorf("cannot seal to the agent's public key: %w", err)
	}
	key, err := hpke.NewDHKEMPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("cannot seal to the agent's public key: %w", err)
	}
	return hpke.Seal(key, hpke.HKDFSHA256(), hpke.AES256GCM(), sealInfo(commandID), args)
}

// Open decrypts what [Seal] made for this key and command id.
func Open(key *ecdh.PrivateKey, commandID string, sealed []byte) ([]byte, error) {
	k, err := hpke.NewDHKEMPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("cannot open sealed arguments: %w", err)
	}
	args, err := hpke.Open(k, hpke.HKDFSHA256(), hpke.AES256GCM(), sealInfo(commandID), sealed)
	if err != nil {
		return nil, fmt.Errorf("cannot open the sealed arguments of command %s (sealed for another key or command?): %w", commandID, err)
	}
	return args, nil
}
