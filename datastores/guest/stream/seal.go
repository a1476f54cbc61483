package stream

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
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
	// A key of its own for each backup: random nonces stay unique however many segments a project has.
	own, err := hkdf.Key(sha256.New, key, nil, "coffer backup v1 "+backupID, keySize)
	if err != nil {
		return s, err
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
