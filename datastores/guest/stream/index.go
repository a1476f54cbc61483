package stream

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// index says what a backup consists of. As text it is a line of format, backup and size of the stream, then one for each
// segment:
//
//	coffer-backup 1 0198c0de-0000-7000-8000-000000000001 12345678
//	1 8388608 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//	2 1048576 60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752
type index struct {
	backupID string
	size     int64 // of the stream
	segments []segment
}

// segment is one of the index, whose number is its place, beginning with 1.
type segment struct {
	size int // as stored
	sum  [sha256.Size]byte
}

const (
	indexFormat = "coffer-backup 1"
	// maxSegments keeps the index, of less than 100 bytes a line, below the 64 MiB that a gateway takes as one body.
	maxSegments = 640_000
)

func (x *index) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s %d\n", indexFormat, x.backupID, x.size)
	for i, s := range x.segments {
		fmt.Fprintf(&b, "%d %d %x\n", i+1, s.size, s.sum)
	}
	return b.Bytes()
}

// parseIndex reads the text of a backup's index.
func parseIndex(text []byte, backupID string) (*index, error) {
	lines := bytes.Lines(text)
	x := &index{backupID: backupID}
	n := 0
	for line := range lines {
		var err error
		fields := strings.Fields(string(line))
		if n == 0 {
			err = x.head(string(line), fields)
		} else {
			err = x.add(n, fields)
		}
		if err != nil {
			return nil, err
		}
		n++
	}
	if n == 0 {
		return nil, fmt.Errorf("it is empty")
	}
	return x, nil
}

func (x *index) head(line string, fields []string) (err error) {
	if !strings.HasPrefix(line, indexFormat+" ") || len(fields) != 4 {
		return fmt.Errorf("it does not begin with %q: it is none, or sealed and there is no key", indexFormat)
	}
	if fields[2] != x.backupID {
		return fmt.Errorf("it is that of backup %s", fields[2])
	}
	x.size, err = strconv.ParseInt(fields[3], 10, 64)
	return err
}

func (x *index) add(n int, fields []string) error {
	var s segment
	if len(fields) != 3 || fields[0] != strconv.Itoa(n) || len(fields[2]) != hex.EncodedLen(len(s.sum)) {
		return fmt.Errorf("line %d is not the one of segment %d", n+1, n)
	}
	var err error
	if s.size, err = strconv.Atoi(fields[1]); err != nil {
		return fmt.Errorf("line %d: %w", n+1, err)
	}
	if _, err = hex.Decode(s.sum[:], []byte(fields[2])); err != nil {
		return fmt.Errorf("line %d: %w", n+1, err)
	}
	x.segments = append(x.segments, s)
	return nil
}

// check says what is wrong with the stored bytes of segment n.
func (x *index) check(n int, stored []byte) error {
	want, got := x.segments[n-1], sha256.Sum256(stored)
	if got == want.sum && len(stored) == want.size {
		return nil
	}
	for i, other := range x.segments {
		if got == other.sum {
			return fmt.Errorf("it is segment %d", i+1)
		}
	}
	if len(stored) < want.size {
		return fmt.Errorf("it is truncated to %d of %d bytes", len(stored), want.size)
	}
	return fmt.Errorf("its SHA-256 is %x, want %x", got, want.sum)
}
