// Package stream is the form of a backup on its way: the stream of a strategy, compressed, cut into segments, each sealed
// and known by its SHA-256, and an index of them as segment 0.
//
// # Form
//
// The stream is one zstd stream, with a window of at most 1 MiB. It is cut into segments of 8 MiB as they are stored, the
// last one shorter, numbered from 1. With a key each segment is 12 bytes of nonce, then AES-256-GCM; the key of a backup is
// derived from the given one (HKDF-SHA256 with the backup's id), and the backup's id and the segment's number are the
// associated data, so that a segment is good for one place of one backup only.
//
// The index is text, see [index], sealed in the same way as segment 0. The SHA-256 of what is stored of it stands in the
// BackupRef, outside of the store, so that whoever can write to the store can change nothing unnoticed.
package stream

import (
	"context"
	"fmt"
	"io"

	"github.com/cofferdb/coffer/datastores"
)

// Segments is where the segments of one backup are. Both calls try again by themselves, for as long as ctx lasts.
type Segments interface {
	// Put stores a segment; again, when it is there. It must not use body after it has returned. Other segments may be put
	// at the same time.
	Put(ctx context.Context, n int, body []byte) error
	// Get reads a segment. The caller may change what it returns.
	Get(ctx context.Context, n int) ([]byte, error)
}

const (
	// segmentSize is the size of a stored segment. It bounds the memory of a backup and what a cut connection costs.
	segmentSize = 8 << 20
	// inFlight is how many segments are stored at the same time: a store that syncs each one to its disk makes the others
	// wait for that no more than it must.
	inFlight = 2
	// window is how far back zstd may have looked in what is read. A restore needs at least as much memory.
	window = 1 << 20
	// writeWindow is how far back it looks when it writes: as far as `zstd -1` does.
	writeWindow = 512 << 10
)

// Write stores what produce writes as the segments of a backup and returns all of its BackupRef but Strategy and Meta. key
// is 32 bytes, or nil: then nothing is sealed. It holds at most three segments in memory: two are stored while the next one is
// filled.
//
// When a segment cannot be stored, or ctx ends, the writer that produce was given returns the reason, and so does Write.
// When produce fails Write returns its error. What was stored until then stays.
func Write(ctx context.Context, to Segments, backupID string, key []byte, produce func(io.Writer) error) (datastores.BackupRef, error) {
	return write(ctx, to, backupID, key, produce, segmentSize)
}

// Open reads a backup's stream again. Every byte that it returns has been checked; the error of a damaged backup names the
// segment. It reads one segment ahead. ctx is for the reading, too; Close ends it, and must be called.
func Open(ctx context.Context, from Segments, ref datastores.BackupRef, key []byte) (io.ReadCloser, error) {
	return open(ctx, from, ref, key)
}

// OpenOwn is [Open] with the key that opens this backup alone: datastores.OwnKey.
func OpenOwn(ctx context.Context, from Segments, ref datastores.BackupRef, own []byte) (io.ReadCloser, error) {
	s, err := sealWith(ref.BackupID, own)
	if err != nil {
		return nil, fmt.Errorf("backup %s: %w", ref.BackupID, err)
	}
	return openSealed(ctx, from, ref, s)
}

// OpenPacked reads a backup's stream as it is saved: compressed, unsealed, of so many bytes. Every byte has been checked against the index; that
// it decompresses nobody has tried. It is [Open] otherwise.
func OpenPacked(ctx context.Context, from Segments, ref datastores.BackupRef, key []byte) (r io.ReadCloser, size int64, err error) {
	return openPacked(ctx, from, ref, key)
}
