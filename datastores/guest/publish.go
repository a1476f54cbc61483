package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/volume"
)

// logEntry is what the guest knows of one log.
type logEntry struct {
	Enabled bool `json:"enabled,omitempty"`
	// Set is when it was turned on or off and only a restart could bring that; zero when nothing is waited for.
	Set time.Time `json:"set,omitzero"`
	// Published is how many bytes of the file with Identity have been published; Chunks is the number of the last chunk, of
	// this file or the ones before it.
	Published int64        `json:"published,omitempty"`
	Chunks    int          `json:"chunks,omitempty"`
	Identity  fileIdentity `json:"identity,omitzero"`
}

const logbookName = "guest-logs.json"

// logbook keeps the entries on disk, by the log's name.
type logbook struct {
	dir string

	mu      sync.Mutex
	entries map[string]logEntry
}

func openLogbook(dir string) (*logbook, error) {
	b := &logbook{dir: dir, entries: map[string]logEntry{}}
	if err := volume.At(dir).LoadJSON(logbookName, &b.entries); err != nil {
		return nil, fmt.Errorf("cannot read what is known of the logs: %w", err)
	}
	return b, nil
}

func (b *logbook) get(name string) logEntry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.entries[name]
}

// change stores durably what f makes of an entry before it is in force.
func (b *logbook) change(name string, f func(*logEntry)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.entries[name]
	next := was
	f(&next)
	b.entries[name] = next
	if err := volume.At(b.dir).SaveJSON(logbookName, b.entries); err != nil {
		b.entries[name] = was
		return fmt.Errorf("cannot store what is known of the logs: %w", err)
	}
	return nil
}

const (
	maxChunk      = 1_000_000        // bytes, Trove's guest_log_limit
	publishMargin = 10 * time.Second // of the deadline, left for the answer
)

// publish sends what the file holds now and was not sent yet, in chunks. Each is noted when the gateway has it: one that is
// sent again after a crash has the same number. What the deadline does not leave time for stays pending.
func (g *Guest) publish(ctx context.Context, name, path string) error {
	f, err := g.openLog(path)
	if errors.Is(err, os.ErrNotExist) {
		return datastores.Errorf(datastores.Invalid, "log %q has not been written yet, so that there is nothing to publish", name)
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	e := g.logbook.get(name)
	file, err := inspectLog(f, e.Identity)
	if err != nil {
		return err
	}
	if !file.continues(e) {
		e.Published = 0
	}
	chunk := make([]byte, min(maxChunk, max(file.size-e.Published, 0)))
	for e.Published < file.size && !late(ctx) {
		n, err := f.ReadAt(chunk[:min(int64(len(chunk)), file.size-e.Published)], e.Published)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("cannot read log %q: %w", name, err)
		}
		if n == 0 {
			return nil // it was truncated just now
		}
		e.Published, e.Chunks = e.Published+int64(n), e.Chunks+1
		if err := g.blobs.PutLogChunk(ctx, name, e.Chunks, chunk[:n]); err != nil {
			return fmt.Errorf("cannot publish log %q: %w", name, err)
		}
		if e.Identity, err = identify(f, e.Published); err != nil {
			return err
		}
		if err := g.logbook.change(name, func(now *logEntry) {
			now.Published, now.Chunks, now.Identity = e.Published, e.Chunks, e.Identity
		}); err != nil {
			return err
		}
	}
	return nil
}

func late(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) < publishMargin
}

// discard takes back what was published. What the file holds may be published again.
func (g *Guest) discard(ctx context.Context, name string) error {
	if err := g.blobs.DeleteLog(ctx, name); err != nil {
		return fmt.Errorf("cannot discard what was published of log %q: %w", name, err)
	}
	return g.logbook.change(name, func(e *logEntry) { e.Published, e.Chunks, e.Identity = 0, 0, fileIdentity{} })
}
