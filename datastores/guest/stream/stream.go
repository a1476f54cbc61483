// Package stream is the form of a backup on its way: the stream of a strategy, compressed, cut into segments, each sealed
// and known by its SHA-256, and an index of them as segment 0.
package stream

import (
	"context"
	"errors"
	"io"

	"github.com/cofferdb/coffer/datastores"
)

// Segments is where the segments of one backup are. Both calls try again by themselves, for as long as ctx lasts.
type Segments interface {
	// Put stores a segment; again, when it is there.
	Put(ctx context.Context, n int, body []byte) error
	// Get reads a segment.
	Get(ctx context.Context, n int) ([]byte, error)
}

// Write stores what produce writes as the segments of a backup and returns all of its BackupRef but Strategy and Meta. key
// is 32 bytes, or nil: then nothing is sealed. It holds at most two segments in memory.
func Write(ctx context.Context, to Segments, backupID string, key []byte, produce func(io.Writer) error) (datastores.BackupRef, error) {
	return datastores.BackupRef{}, errors.New("not implemented")
}

// Open reads a backup's stream again. Every byte that it returns has been checked; the error of a damaged backup names the
// segment.
func Open(ctx context.Context, from Segments, ref datastores.BackupRef, key []byte) (io.ReadCloser, error) {
	return nil, errors.New("not implemented")
}
