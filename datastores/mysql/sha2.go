package mysql

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"github.com/cofferdb/coffer/datastores"
)

// The hash that caching_sha2_password keeps of a password: a mark with the thousands of rounds, a salt and Ulrich Drepper's
// SHA-crypt of 256 bits with both (https://www.akkadia.org/drepper/SHA-crypt.txt), of which it has neither the length of the salt
// nor the way of writing down the rounds.
const (
	sha2Mark   = "$A$005$"
	sha2Rounds = 5000
	sha2Salt   = 20
)

// sha2Hash makes a hash of a password, with a salt of its own.
func sha2Hash(password datastores.Secret) string {
	return sha2With(password, rand.Text()[:sha2Salt])
}

// sha2Of reports whether text, such as a server's answer, has a hash of the password.
func sha2Of(text string, password datastores.Secret) bool {
	_, rest, found := strings.Cut(text, sha2Mark)
	if !found || len(rest) < sha2Salt {
		return false
	}
	want := sha2With(password, rest[:sha2Salt])[len(sha2Mark):]
	return len(rest) >= len(want) && subtle.ConstantTimeCompare([]byte(rest[:len(want)]), []byte(want)) == 1
}

func sha2With(password datastores.Secret, salt string) string {
	p, s := []byte(password.Reveal()), []byte(salt)
	other := sha256.Sum256(join(p, s, p))
	first := sha256.New()
	first.Write(join(p, s, stretch(other[:], len(p))))
	for n := len(p); n > 0; n >>= 1 {
		if n&1 == 1 {
			first.Write(other[:])
		} else {
			first.Write(p)
		}
	}
	sum := first.Sum(nil)
	sumP := sha256.Sum256(bytes.Repeat(p, len(p)))
	sumS := sha256.Sum256(bytes.Repeat(s, 16+int(sum[0])))
	sequenceP, sequenceS := stretch(sumP[:], len(p)), stretch(sumS[:], len(s))
	for round := range sha2Rounds {
		var parts [][]byte
		if round%2 == 1 {
			parts = append(parts, sequenceP)
		} else {
			parts = append(parts, sum)
		}
		if round%3 != 0 {
			parts = append(parts, sequenceS)
		}
		if round%7 != 0 {
			parts = append(parts, sequenceP)
		}
		if round%2 == 1 {
			parts = append(parts, sum)
		} else {
			parts = append(parts, sequenceP)
		}
		next := sha256.Sum256(join(parts...))
		sum = next[:]
	}
	return sha2Mark + salt + sha2Text(sum)
}

// stretch repeats a sum until it has n bytes.
func stretch(sum []byte, n int) []byte {
	return bytes.Repeat(sum, n/len(sum)+1)[:n]
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// sha2Text writes 32 bytes as 43 characters of six bits each, three bytes at a time in the order that the format has.
func sha2Text(sum []byte) string {
	const digits = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var b strings.Builder
	write := func(bits uint32, n int) {
		for range n {
			b.WriteByte(digits[bits&63])
			bits >>= 6
		}
	}
	for i := range 10 {
		at := [3]int{i, i + 10, i + 20}
		turn := (3 - i%3) % 3 // the triples are turned by one from each to the next
		write(uint32(sum[at[(turn)%3]])<<16|uint32(sum[at[(turn+1)%3]])<<8|uint32(sum[at[(turn+2)%3]]), 4)
	}
	write(uint32(sum[31])<<8|uint32(sum[30]), 3)
	return b.String()
}
