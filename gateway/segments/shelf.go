package segments

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"

	"github.com/cofferdb/coffer/agentpoll"
	"github.com/cofferdb/coffer/gateway/blobstore"
)

// Shelf is where the segments of one backup lie, for a gateway that reads or writes them itself: what package stream wants.
type Shelf struct {
	Blobs  blobstore.Store
	Prefix string
	Read   func(bytes int64) // hears of each segment that was read; nil: nobody does
}

// Unreadable is why nobody knows whether a backup is damaged: the store could not be read, or not now.
type Unreadable struct{ Err error }

func (u Unreadable) Error() string { return u.Err.Error() }

func (u Unreadable) Unwrap() error { return u.Err }

var errTooLarge = errors.New("it is larger than a segment may be")

// Get reads a segment within 5 minutes. That one is missing says something of the backup, every other error of the store alone.
func (s *Shelf) Get(ctx context.Context, n int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	blob, size, err := s.Blobs.Get(ctx, ChunkName(s.Prefix, int64(n)))
	switch {
	case errors.Is(err, blobstore.ErrNotFound):
		return nil, errors.New("it is missing")
	case err != nil:
		return nil, Unreadable{Err: err}
	}
	defer blob.Close()
	if size > agentpoll.MaxSegment {
		return nil, errTooLarge
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(blob, body); err != nil {
		return nil, Unreadable{Err: err}
	}
	if s.Read != nil {
		s.Read(size)
	}
	return body, nil
}

// Put stores a segment, in place of one that is there, within as much time as ctx has.
func (s *Shelf) Put(ctx context.Context, n int, body []byte) error {
	sum := sha256.Sum256(body)
	return s.Blobs.Put(ctx, ChunkName(s.Prefix, int64(n)), int64(len(body)), hex.EncodeToString(sum[:]), bytes.NewReader(body))
}

// Keep has a request's body, or its answer's, be given up when it stops for 30 s: it may take as long as it flows.
func Keep(w http.ResponseWriter, r io.Reader) io.ReadWriter {
	return &flow{control: http.NewResponseController(w), r: r, w: w}
}
