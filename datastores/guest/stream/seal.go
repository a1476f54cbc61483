package stream

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"strconv"

	"github.com/cofferdb/coffer/datastores"
)

// seal seals the segments of one backup.
type seal struct {
	backupID string
	aead     cipher.AEAD // nil: nothing is sealed
}

const keySize = 32

func newSeal(backupID string, key []byte) (seal, error) {
	s := seal{backupID: backupID}
	if key == nil {
		return s, nil
	}
	if len(key) != keySize {
		return s, fmt.Errorf("the key has %d bytes, want %d", len(key), keySize)
	}
	own, err := datastores.OwnKey(key, backupID)
	if err != nil {
		return s, err
	}
	return sealWith(backupID, own)
}

// sealWith is the seal of a backup whose own key is known.
func sealWith(backupID string, own []byte) (seal, error) {
	s := seal{backupID: backupID}
	if len(own) != keySize {
		return s, fmt.Errorf("the backup's own key has %d bytes, want %d", len(own), keySize)
	}
	block, err := aes.NewCipher(own)
	if err != nil {
		return s, err
	}
	s.aead, err = cipher.NewGCMWithRandomNonce(block)
	return s, err
}

// overhead is by how much a segment grows.
func (s seal) overhead() int {
	if s.aead == nil {
		return 0
	}
	return s.aead.Overhead()
}

// close seals segment n, in place when plain has the room for it.
func (s seal) close(n int, plain []byte) []byte {
	if s.aead == nil {
		return plain
	}
	return s.aead.Seal(plain[:0], nil, plain, s.associated(n))
}

var errSeal = errors.New("it does not open: the key is another one, or somebody has changed it")

// open takes the seal off, in place.
func (s seal) open(n int, stored []byte) ([]byte, error) {
	if s.aead == nil {
		return stored, nil
	}
	plain, err := s.aead.Open(stored[:0], nil, stored, s.associated(n))
	if err != nil {
		return nil, errSeal
	}
	return plain, nil
}

// associated ties a segment to its place.
func (s seal) associated(n int) []byte {
	return []byte("coffer backup v1 " + s.backupID + " segment " + strconv.Itoa(n))
}
