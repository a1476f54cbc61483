package mongodb

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"

	"github.com/cofferdb/coffer/datastores"
)

// ticket is what a server needs to be a member of a set.
type ticket struct {
	Set   string `json:"set"`
	Key   string `json:"key"`
	Admin string `json:"admin"`
}

// seal hides a ticket from everybody who has not the account's password, which the gateway made by chance.
func seal(a datastores.ReplicaAccount, t ticket) ([]byte, error) {
	box, err := boxOf(a)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, box.NonceSize())
	_, _ = rand.Read(nonce)
	return box.Seal(nonce, nonce, b, []byte(a.ReplicaID)), nil
}

func unseal(a datastores.ReplicaAccount, sealed []byte) (t ticket, err error) {
	box, err := boxOf(a)
	if err != nil {
		return t, err
	}
	if len(sealed) < box.NonceSize() {
		return t, errors.New("the source has nothing for this replica")
	}
	b, err := box.Open(nil, sealed[:box.NonceSize()], sealed[box.NonceSize():], []byte(a.ReplicaID))
	if err != nil {
		return t, errors.New("what the source has for this replica is for another password")
	}
	return t, json.Unmarshal(b, &t)
}

func boxOf(a datastores.ReplicaAccount) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(a.Password.Reveal()), []byte(a.ReplicaID), "coffer mongodb replica", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
