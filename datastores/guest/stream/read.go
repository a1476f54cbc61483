package stream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/cofferdb/coffer/datastores"
)

func open(ctx context.Context, from Segments, ref datastores.BackupRef, key []byte) (*reader, error) {
	s, err := newSeal(ref.BackupID, key)
	if err != nil {
		return nil, fmt.Errorf("backup %s: %w", ref.BackupID, err)
	}
	return openSealed(ctx, from, ref, s)
}

// prepare reads the index, and nothing else yet.
func prepare(ctx context.Context, from Segments, ref datastores.BackupRef, s seal) (*reader, error) {
	x, err := readIndex(ctx, from, ref, s)
	if err != nil {
		return nil, fmt.Errorf("backup %s: %w", ref.BackupID, err)
	}
	running, cancel := context.WithCancelCause(ctx)
	return &reader{ref: ref, from: from, seal: s, index: x, ctx: running, cancel: cancel, ready: make(chan []byte)}, nil
}

func openSealed(ctx context.Context, from Segments, ref datastores.BackupRef, s seal) (*reader, error) {
	r, err := prepare(ctx, from, ref, s)
	if err != nil {
		return nil, err
	}
	r.zstd, err = zstd.NewReader((*joiner)(r), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
	if err != nil {
		r.cancel(err)
		return nil, fmt.Errorf("backup %s: %w", ref.BackupID, err)
	}
	r.fetching.Go(r.fetch)
	return r, nil
}

// packed is a reader of what is saved.
type packed struct{ *reader }

func openPacked(ctx context.Context, from Segments, ref datastores.BackupRef, key []byte) (io.ReadCloser, int64, error) {
	s, err := newSeal(ref.BackupID, key)
	if err != nil {
		return nil, 0, fmt.Errorf("backup %s: %w", ref.BackupID, err)
	}
	r, err := prepare(ctx, from, ref, s)
	if err != nil {
		return nil, 0, err
	}
	size := int64(0)
	for _, one := range r.index.segments {
		size += int64(one.size - s.overhead())
	}
	r.fetching.Go(r.fetch)
	return packed{r}, size, nil
}

func (p packed) Read(b []byte) (int, error) {
	n, err := (*joiner)(p.reader).Read(b)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("backup %s: %w", p.ref.BackupID, err)
	}
	return n, err
}

func (p packed) Close() error {
	p.end()
	return nil
}

func readIndex(ctx context.Context, from Segments, ref datastores.BackupRef, s seal) (*index, error) {
	body, err := from.Get(ctx, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot read the index: %w", err)
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != ref.SHA256 {
		return nil, fmt.Errorf("the index is damaged: its SHA-256 is %x, want %s", sum, ref.SHA256)
	}
	text, err := s.open(0, body)
	if err != nil {
		return nil, fmt.Errorf("cannot use the index: %w", err)
	}
	x, err := parseIndex(text, ref.BackupID)
	if err != nil {
		return nil, fmt.Errorf("cannot use the index: %w", err)
	}
	if len(x.segments) != ref.Segments || x.size != ref.Size {
		return nil, fmt.Errorf("the index names %d segments of a stream of %d bytes, want %d and %d", len(x.segments), x.size, ref.Segments, ref.Size)
	}
	return x, nil
}

// reader reads a backup. Its zstd reads from it as a joiner, which waits for what fetch has checked.
type reader struct {
	ref   datastores.BackupRef
	from  Segments
	seal  seal
	index *index
	zstd  *zstd.Decoder

	ctx      context.Context
	cancel   context.CancelCauseFunc // with the error that ended it; io.EOF is none
	fetching sync.WaitGroup
	ready    chan []byte // closed after the last segment

	rest []byte // of the segment that is read
	n    int64  // bytes returned
	err  error  // what Read returns from now on
}

var errClosed = errors.New("it is closed")

// fetch gets the segments in order, each while the one before it is read.
func (r *reader) fetch() {
	defer close(r.ready)
	for n := 1; n <= len(r.index.segments); n++ {
		plain, err := r.get(n)
		if err != nil {
			r.cancel(err)
			return
		}
		select {
		case r.ready <- plain:
		case <-r.ctx.Done():
			return
		}
	}
}

func (r *reader) get(n int) ([]byte, error) {
	stored, err := r.from.Get(r.ctx, n)
	if err != nil {
		return nil, fmt.Errorf("cannot read segment %d: %w", n, err)
	}
	if err := r.index.check(n, stored); err != nil {
		return nil, fmt.Errorf("segment %d is damaged: %w", n, err)
	}
	plain, err := r.seal.open(n, stored)
	if err != nil {
		return nil, fmt.Errorf("segment %d is damaged: %w", n, err)
	}
	return plain, nil
}

// joiner is the compressed stream.
type joiner reader

func (r *joiner) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		segment, ok := <-r.ready
		if err := context.Cause(r.ctx); err != nil {
			return 0, err
		}
		if !ok {
			return 0, io.EOF
		}
		r.rest = segment
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := 0, r.ctx.Err()
	if err == nil {
		n, err = r.zstd.Read(p)
	}
	r.n += int64(n)
	r.err = r.verdict(err)
	return n, r.err
}

// verdict is the error of the whole for one of zstd.
func (r *reader) verdict(err error) error {
	cause := context.Cause(r.ctx)
	switch {
	case cause != nil && err != nil:
		err = cause // zstd may have wrapped it, or taken it for the end
	case err == nil:
		return nil
	case errors.Is(err, io.EOF) && r.n == r.ref.Size:
		return io.EOF
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("the stream has %d bytes, want %d", r.n, r.ref.Size)
	default:
		err = fmt.Errorf("cannot decompress it after %d bytes: %w", r.n, err)
	}
	return fmt.Errorf("backup %s: %w", r.ref.BackupID, err)
}

// Close ends the reading.
func (r *reader) Close() error {
	r.end()
	r.zstd.Close()
	r.err, r.rest = fmt.Errorf("backup %s: %w", r.ref.BackupID, errClosed), nil
	return nil
}

func (r *reader) end() {
	r.cancel(errClosed)
	r.fetching.Wait()
}
