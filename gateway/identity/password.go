package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
)

// The cost of a password hash: OWASP's minimum for argon2id: 19 MiB, and some tens of milliseconds.
const (
	hashMemory = 19 << 10 // KiB
	hashPasses = 2
	hashLanes  = 1
	saltBytes  = 16
	sumBytes   = 32
)

// What a stored hash may ask for at most, so that a bad record cannot take the gateway's memory.
const (
	maxHashMemory = 64 << 10 // KiB
	maxHashPasses = 10
	maxHashLanes  = 4
)

// hashWait is how long a login waits for its turn to hash.
const hashWait = 10 * time.Second

var (
	errBusy    = errors.New("too many logins at once")
	errBadHash = errors.New("the stored password is no argon2id hash in PHC format")
)

// gate lets so many hash at once as it has room for: each takes much memory.
type gate chan struct{}

// enter waits for a turn; the caller must call leave after it. errBusy when it takes too long.
func (g gate) enter(ctx context.Context) (leave func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, hashWait, errBusy)
	defer cancel()
	select {
	case g <- struct{}{}:
		return func() { <-g }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// hash waits for a turn and returns the PHC string of a password.
func (s *Service) hash(ctx context.Context, password string) (string, error) {
	leave, err := s.hashing.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	salt := random(saltBytes)
	return formatHash(salt, argon2.IDKey([]byte(password), salt, hashPasses, hashMemory, hashLanes, sumBytes)), nil
}

// matchesHash reports whether stored is a PHC string of the password. With an empty stored it is false, and takes as long.
// The caller must have a turn of the [gate].
func matchesHash(stored, password string) (bool, error) {
	phc := stored
	if phc == "" {
		phc = formatHash(random(saltBytes), random(sumBytes)) // of nothing that anybody knows
	}
	p, err := parseHash(phc)
	if err != nil {
		return false, err
	}
	sum := argon2.IDKey([]byte(password), p.salt, p.passes, p.memory, p.lanes, uint32(len(p.sum)))
	return subtle.ConstantTimeCompare(sum, p.sum) == 1 && stored != "", nil
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return b
}

type parsedHash struct {
	memory, passes uint32
	lanes          uint8
	salt, sum      []byte
}

func formatHash(salt, sum []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashPasses, hashLanes,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum))
}

func parseHash(phc string) (parsedHash, error) {
	var p parsedHash
	var version int
	fields := strings.Split(phc, "$")
	if len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" {
		return p, errBadHash
	}
	_, err1 := fmt.Sscanf(fields[2], "v=%d", &version)
	_, err2 := fmt.Sscanf(fields[3], "m=%d,t=%d,p=%d", &p.memory, &p.passes, &p.lanes)
	var err3, err4 error
	p.salt, err3 = base64.RawStdEncoding.DecodeString(fields[4])
	p.sum, err4 = base64.RawStdEncoding.DecodeString(fields[5])
	if errors.Join(err1, err2, err3, err4) != nil || version != argon2.Version {
		return p, errBadHash
	}
	if len(p.salt) < 8 || len(p.sum) < 16 || len(p.sum) > 64 {
		return p, errBadHash
	}
	if p.passes < 1 || p.passes > maxHashPasses || p.lanes < 1 || p.lanes > maxHashLanes || p.memory > maxHashMemory {
		return p, fmt.Errorf("%w within m=%d,t=%d,p=%d", errBadHash, maxHashMemory, maxHashPasses, maxHashLanes)
	}
	return p, nil
}
