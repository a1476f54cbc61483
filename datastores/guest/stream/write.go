package stream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/cofferdb/coffer/datastores"
)

func write(ctx context.Context, to Segments, backupID string, key []byte, produce func(io.Writer) error, size int) (
	ref datastores.BackupRef, err error,
) {
	s, err := newSeal(backupID, key)
	if err != nil {
		return ref, fmt.Errorf("backup %s: %w", backupID, err)
	}
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := newCutter(running, cancel, to, s, size)
	var storing sync.WaitGroup
	for range inFlight {
		storing.Go(c.store)
	}
	count := c.fill(produce)
	storing.Wait()
	// What ended it comes first: produce may have made an error of its own of what its writer returned.
	if err := context.Cause(running); err != nil {
		return ref, fmt.Errorf("backup %s: %w", backupID, err)
	}
	c.index.size = count
	return c.finish(running)
}

// compress runs produce and returns how much it wrote.
func compress(ctx context.Context, out io.Writer, produce func(io.Writer) error) (int64, error) {
	z, err := zstd.NewWriter(out, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(false), zstd.WithWindowSize(writeWindow),
		zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return 0, err
	}
	w := &counter{ctx: ctx, w: z}
	if err := produce(w); err != nil {
		return 0, err
	}
	return w.n, z.Close()
}

// counter counts, and fails as soon as ctx has ended: zstd takes much before it writes anything.
type counter struct {
	ctx context.Context
	w   io.Writer
	n   int64
}

func (c *counter) Write(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// cutter cuts what is written to it into segments. inFlight goroutines run store.
type cutter struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	to     Segments
	seal   seal
	limit  int // of a segment before it is sealed

	buf  []byte
	full chan numbered
	free chan []byte // of the buffers one is filled, the others are stored; nil is one that was not made yet

	mu     sync.Mutex
	index  index // of what is stored or being stored; a segment's place is there from when it is full
	stored int64
}

// numbered is a full segment that is not sealed yet.
type numbered struct {
	n     int
	plain []byte
}

func newCutter(ctx context.Context, cancel context.CancelCauseFunc, to Segments, s seal, size int) *cutter {
	c := &cutter{
		ctx: ctx, cancel: cancel, to: to, seal: s, limit: size - s.overhead(),
		full: make(chan numbered), free: make(chan []byte, inFlight+1), index: index{backupID: s.backupID},
	}
	for range inFlight {
		c.free <- nil
	}
	return c
}

// fill cuts all that produce writes, and returns how much that is before compression. An error ends everything.
func (c *cutter) fill(produce func(io.Writer) error) int64 {
	defer close(c.full)
	count, err := compress(c.ctx, c, produce)
	if err == nil {
		err = c.flush()
	}
	if err != nil {
		c.cancel(err)
	}
	return count
}

func (c *cutter) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		if len(c.buf) == c.limit {
			if err := c.flush(); err != nil {
				return written, err
			}
		}
		if c.buf == nil {
			c.buf = make([]byte, 0, c.limit+c.seal.overhead())
		}
		n := min(len(p), c.limit-len(c.buf))
		c.buf = append(c.buf, p[:n]...)
		p, written = p[n:], written+n
	}
	return written, nil
}

// flush hands the segment over and waits for another buffer.
func (c *cutter) flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	n, err := c.place()
	if err != nil {
		return err
	}
	select {
	case c.full <- numbered{n, c.buf}:
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
	select {
	case c.buf = <-c.free:
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
	c.buf = c.buf[:0]
	return nil
}

// place makes room in the index for the next segment, and returns its number.
func (c *cutter) place() (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n = len(c.index.segments) + 1; n > maxSegments {
		return 0, fmt.Errorf("it is larger than %d segments of %d bytes", maxSegments, segmentSize)
	}
	c.index.segments = append(c.index.segments, segment{})
	return n, nil
}

// store stores full segments until there are no more. Its error ends everything.
func (c *cutter) store() {
	for s := range c.full {
		if err := c.put(s); err != nil {
			c.cancel(err)
			return
		}
		c.free <- s.plain
	}
}

func (c *cutter) put(s numbered) error {
	body := c.seal.close(s.n, s.plain)
	if err := c.to.Put(c.ctx, s.n, body); err != nil {
		return fmt.Errorf("cannot store segment %d: %w", s.n, err)
	}
	stored := segment{size: len(body), sum: sha256.Sum256(body)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index.segments[s.n-1] = stored
	c.stored += int64(stored.size)
	return nil
}

// finish stores the index.
func (c *cutter) finish(ctx context.Context) (datastores.BackupRef, error) {
	body := c.seal.close(0, c.index.text())
	if err := c.to.Put(ctx, 0, body); err != nil {
		return datastores.BackupRef{}, fmt.Errorf("backup %s: cannot store the index: %w", c.index.backupID, err)
	}
	sum := sha256.Sum256(body)
	return datastores.BackupRef{
		BackupID: c.index.backupID, Segments: len(c.index.segments), SHA256: hex.EncodeToString(sum[:]),
		Size: c.index.size, Stored: c.stored + int64(len(body)),
	}, nil
}
