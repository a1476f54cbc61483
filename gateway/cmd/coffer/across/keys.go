package across

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
)

// Keys say with what a file is sealed, or opened. Exactly one of them is there, else the passphrase is asked for.
type Keys struct {
	PassphraseFile string
	Recipients     []string // public keys: age1…
	IdentityFile   string   // holds private keys, one a line: AGE-SECRET-KEY-1…
	// Ask asks a person for the passphrase; twice, for one that is new.
	Ask func(prompt string, twice bool) (string, error)
}

// leastPassphrase is how many characters a passphrase has at least. Whoever has the file may try as many as he likes.
const leastPassphrase = 12

// Seal returns to whom a file is sealed.
func (k Keys) Seal() ([]age.Recipient, error) {
	if len(k.Recipients) > 0 {
		if k.PassphraseFile != "" {
			return nil, errors.New("a file is sealed to public keys or with a passphrase, not with both")
		}
		all, err := age.ParseRecipients(strings.NewReader(strings.Join(k.Recipients, "\n")))
		if err != nil {
			return nil, errors.New("a recipient is a public key that begins with age1, as `coffer backup key` and age-keygen print it")
		}
		return all, nil
	}
	text, err := k.passphrase("Passphrase for the file: ", true)
	if err != nil {
		return nil, err
	}
	if len(text) < leastPassphrase {
		return nil, fmt.Errorf("the passphrase is too short: take %d characters or more, such as several words", leastPassphrase)
	}
	r, err := age.NewScryptRecipient(text)
	return []age.Recipient{r}, err
}

// Open returns what opens a file.
func (k Keys) Open() ([]age.Identity, error) {
	if k.IdentityFile != "" {
		if k.PassphraseFile != "" {
			return nil, errors.New("a file is opened with an identity or a passphrase, not with both")
		}
		text, err := readSmall(k.IdentityFile)
		if err != nil {
			return nil, err
		}
		all, err := age.ParseIdentities(bytes.NewReader(text))
		if err != nil { // which might name what it has read
			return nil, fmt.Errorf("%s holds no private keys, one a line, each beginning with AGE-SECRET-KEY-", k.IdentityFile)
		}
		return all, nil
	}
	text, err := k.passphrase("Passphrase of the file: ", false)
	if err != nil {
		return nil, err
	}
	i, err := age.NewScryptIdentity(text)
	return []age.Identity{i}, err
}

// passphrase is the first line of the file, or what a person says.
func (k Keys) passphrase(prompt string, twice bool) (string, error) {
	if k.PassphraseFile == "" {
		return k.Ask(prompt, twice)
	}
	text, err := readSmall(k.PassphraseFile)
	if err != nil {
		return "", err
	}
	line, _, err := bufio.NewReader(bytes.NewReader(text)).ReadLine()
	if err != nil || len(line) == 0 {
		return "", fmt.Errorf("%s holds no passphrase: it is the first line", k.PassphraseFile)
	}
	return string(line), nil
}

const maxKeys = 64 << 10

func readSmall(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxKeys))
}

// NewKey writes a new private key to a file, which must not be there, and returns its public key.
func NewKey(name string) (recipient string, err error) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = fmt.Fprintf(f, "# public key: %s\n%s\n", key.Recipient(), key)
	return key.Recipient().String(), errors.Join(err, f.Close())
}
