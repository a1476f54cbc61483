// Package keyring seals what etcd must not show: with the key file that all gateways have, each thing for its own place.
package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Keyring seals what has to wait in etcd for an agent that has not enrolled yet: AES-256-GCM with the etcd key as
// associated data, so that a sealed value opens only in its own place. Every gateway must have the same key file:
// lines of `<id> <base64 of 32 bytes>`; the first line seals, all of them open.
type Keyring struct {
	ids  []string
	keys map[string]cipher.AEAD
}

var keyID = regexp.MustCompile(`^[a-z0-9-]{1,16}$`)

// Parse reads a key file's text.
func Parse(text string) (*Keyring, error) {
	k := &Keyring{keys: map[string]cipher.AEAD{}}
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, encoded, _ := strings.Cut(line, " ")
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
		if !keyID.MatchString(id) || err != nil || len(raw) != 32 {
			return nil, fmt.Errorf("key file, line %d: want an id of a-z 0-9 - and 32 bytes in base64; `coffer keys new` makes one", n+1)
		}
		block, err := aes.NewCipher(raw)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		if _, twice := k.keys[id]; twice {
			return nil, fmt.Errorf("key file, line %d: key %q is there twice", n+1, id)
		}
		k.ids, k.keys[id] = append(k.ids, id), aead
	}
	if len(k.ids) == 0 {
		return nil, errors.New("the key file holds no key; `coffer keys new` writes one")
	}
	return k, nil
}

// NewLine makes a line of a key file.
func NewLine() string {
	id, key := make([]byte, 4), make([]byte, 32)
	_, _ = rand.Read(id)
	_, _ = rand.Read(key)
	return fmt.Sprintf("k%x %s\n", id, base64.StdEncoding.EncodeToString(key))
}

// Load reads a key file. With make it is written first when there is none: right for one gateway with its etcd
// inside, wrong for several.
func Load(path string, make bool) (*Keyring, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && make {
		if err = makeKeyFile(path); err == nil {
			b, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the key file: %w", err)
	}
	if info, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("cannot read the key file: %w", err)
	} else if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others than its owner may read or write the key file %s (mode %04o): chmod 600 it, and take a new key if they could have read it", path, info.Mode().Perm())
	}
	k, err := Parse(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// makeKeyFile writes a key file with one key, whole and durable or not at all: a gateway that is killed meanwhile must
// find its next start as easy as its first. One that somebody else has just made stays.
func makeKeyFile(path string) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".keys-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString("# seals what waits in etcd; give the same file to every gateway\n" + NewLine())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Seal encrypts text for the place in etcd that key names.
func (k *Keyring) Seal(key string, text []byte) []byte {
	id := k.ids[0]
	aead := k.keys[id]
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce)
	return aead.Seal(append([]byte(id+":"), nonce...), nonce, text, []byte(key))
}

// Open decrypts what seal made for the same place.
func (k *Keyring) Open(key string, sealed []byte) ([]byte, error) {
	id, rest, _ := strings.Cut(string(sealed), ":")
	aead, ok := k.keys[id]
	if !ok {
		return nil, fmt.Errorf("%s was sealed with key %q, which this gateway's key file does not hold", key, id)
	}
	if len(rest) < aead.NonceSize() {
		return nil, fmt.Errorf("%s: the sealed value is cut off", key)
	}
	nonce, text := rest[:aead.NonceSize()], rest[aead.NonceSize():]
	out, err := aead.Open(nil, []byte(nonce), []byte(text), []byte(key))
	if err != nil {
		return nil, fmt.Errorf("%s: the sealed value does not open: %w", key, err)
	}
	return out, nil
}
