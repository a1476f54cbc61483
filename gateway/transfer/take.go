package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/cofferdb/coffer/datastores"
	"github.com/cofferdb/coffer/datastores/guest/stream"
	"github.com/cofferdb/coffer/etcdschema"
	"github.com/cofferdb/coffer/gateway/blobstore"
	"github.com/cofferdb/coffer/gateway/control"
	"github.com/cofferdb/coffer/gateway/fault"
	"github.com/cofferdb/coffer/gateway/plan"
	"github.com/cofferdb/coffer/gateway/segments"
)

const (
	// lease is how long a sending counts as under way that says so no more, and sayAgain how often it does.
	lease    = 2 * time.Minute
	sayAgain = 20 * time.Second
	// window is how far back the zstd of what is sent may look: what `zstd -19` needs. A decompressor takes that much memory.
	window = 8 << 20
	// bomb is how much larger than sent something may become, beyond slack: databases do not, save for files of zeros.
	bomb  = 1000
	slack = 64 << 20
)

// errNotMine: another sending goes on, or nobody waits for this one any more.
var errNotMine = errors.New("the sending is not this one's any more")

// taking is one sending of what a backup holds.
type taking struct {
	*Porter
	key   etcdschema.Key[etcdschema.Backup]
	id    string // of the attempt
	b     etcdschema.Backup
	seal  []byte
	shelf segments.Shelf

	mu    sync.Mutex
	held  int64 // what the project is charged, see etcdschema.Backup
	until time.Time
}

// Take stores what an imported backup holds, from body to its end, and completes it. When anything is wrong with it nothing is
// complete, and it may be sent again.
func (p *Porter) Take(ctx context.Context, c control.Caller, id string, compressed bool, body io.Reader) (etcdschema.Backup, error) {
	if p.control.Blobs == nil {
		return etcdschema.Backup{}, control.ErrNoStore
	}
	leave, err := p.enter()
	if err != nil {
		return etcdschema.Backup{}, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	t, err := p.claim(ctx, c, id)
	if err != nil {
		return etcdschema.Backup{}, err
	}
	ref, err := t.store(ctx, compressed, body)
	if err == nil && t.b.Import.Bytes > 0 && ref.Size != t.b.Import.Bytes {
		err = fault.Errorf(fault.Unprocessable, "What was sent has %d bytes before compression, and %d were announced: it is not all, or of another backup.", ref.Size, t.b.Import.Bytes)
	}
	if err != nil {
		t.abandon(ctx)
		return t.b, t.told(ctx, err)
	}
	err = t.finish(ctx, ref)
	return t.b, t.told(ctx, err)
}

// store stores what is sent, in place of what an earlier sending has left: nobody would be charged for more of that than comes now.
func (t *taking) store(ctx context.Context, compressed bool, body io.Reader) (ref datastores.BackupRef, err error) {
	clearing, cancel := context.WithTimeout(ctx, t.until.Sub(t.control.Now()))
	defer cancel()
	if err := t.shelf.Blobs.DeleteAll(clearing, t.shelf.Prefix); err != nil {
		return ref, err
	}
	arriving := &arrival{taking: t, ctx: ctx, body: body}
	return stream.Write(ctx, t, t.b.BackupID, t.seal, func(w io.Writer) error { return arriving.unpack(w, compressed) })
}

// claim begins a sending, unless another goes on.
func (p *Porter) claim(ctx context.Context, c control.Caller, id string) (*taking, error) {
	cp := p.control
	t := &taking{Porter: p, key: etcdschema.BackupKey(c.Project, id), id: plan.NewID()}
	err := cp.ChangeBackup(ctx, c.Project, id, func(s etcdschema.Snapshot, b *etcdschema.Backup) (ops []etcdschema.Op, err error) {
		now := cp.Now().UTC()
		switch {
		case b.Import == nil || !b.Running():
			return nil, fault.Errorf(fault.Conflict, "Backup %s (%s) waits for nothing: what a backup holds can be sent once, of one that POST backups with restore_from has made.", id, b.Status)
		case now.Before(b.Import.Until):
			return nil, fault.Errorf(fault.Conflict, "What backup %s holds is being sent. If that is over, try again in two minutes.", id)
		}
		if t.seal, ops, err = plan.AnyStreamKey(cp.Keys, s, b.Project); err != nil {
			return nil, err
		}
		is := *b.Import
		is.Attempt, is.Until = t.id, now.Add(lease)
		b.Import, b.Status = &is, etcdschema.BackupBuilding
		t.b, t.held, t.until = *b, b.Held, is.Until
		return ops, nil
	})
	t.shelf = segments.Shelf{Blobs: cp.Blobs, Prefix: segments.BackupPrefix(t.b.Container, t.b.Project, t.b.BackupID)}
	return t, err
}

// mine decides over the backup, as long as this sending is the one that counts.
func (t *taking) mine(ctx context.Context, decide func(etcdschema.Snapshot, *etcdschema.Backup) ([]etcdschema.Op, error)) error {
	err := t.control.ChangeBackup(ctx, t.b.Project, t.b.BackupID, func(s etcdschema.Snapshot, b *etcdschema.Backup) ([]etcdschema.Op, error) {
		if b.Import == nil || b.Import.Attempt != t.id || !b.Running() {
			return nil, errNotMine
		}
		is := *b.Import
		b.Import = &is
		return decide(s, b)
	})
	if fault.IsNotFound(err) {
		return errNotMine
	}
	return err
}

// hold has the sending go on, and its project charged for what is up to segment n. It returns until when that holds.
func (t *taking) hold(ctx context.Context, n int64) (time.Time, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.control.Now().UTC()
	if n*plan.SegmentSize <= t.held && t.until.Sub(now) > lease-sayAgain {
		return t.until, nil
	}
	err := t.mine(ctx, func(s etcdschema.Snapshot, b *etcdschema.Backup) (ops []etcdschema.Op, err error) {
		if n*plan.SegmentSize > b.Held {
			ops, b.Held, err = t.control.Hold(s, b.Project, b.Held, n, plan.SegmentStep, plan.SegmentSize, func(u *etcdschema.Usage) *int64 { return &u.BackupBytes })
		}
		b.Import.Until = now.Add(lease)
		t.held, t.until = b.Held, b.Import.Until
		return ops, err
	})
	return t.until, err
}

// Put is that of stream.Segments. It ends before another sending may begin.
func (t *taking) Put(ctx context.Context, n int, body []byte) error {
	until, err := t.hold(ctx, int64(n))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, until.Sub(t.control.Now()))
	defer cancel()
	return t.shelf.Put(ctx, n, body)
}

// Get is that of stream.Segments: nothing is read here.
func (t *taking) Get(context.Context, int) ([]byte, error) { return nil, errors.ErrUnsupported }

// finish completes the backup, and charges its project for what it has in the store.
func (t *taking) finish(ctx context.Context, ref datastores.BackupRef) error {
	return t.mine(ctx, func(s etcdschema.Snapshot, b *etcdschema.Backup) ([]etcdschema.Op, error) {
		usage, err := etcdschema.Read(s, etcdschema.UsageKey(b.Project))
		if err != nil {
			return nil, err
		}
		usage.Value.BackupBytes = max(0, usage.Value.BackupBytes+ref.Stored-b.Held)
		now := t.control.Now().UTC()
		ref.Strategy, ref.Meta, ref.Fixed = b.Strategy, b.Meta, b.Fixed
		b.BackupRef, b.Held, b.Status, b.Updated = ref, ref.Stored, etcdschema.BackupCompleted, now
		b.Import.Attempt, b.Import.Until = "", time.Time{}
		ops := plan.DueRemoval(b, time.Time{}, now)
		t.b = *b
		return append(ops, etcdschema.Put(etcdschema.UsageKey(b.Project), usage.Value)), nil
	})
}

// abandon lets the next sending begin at once.
func (t *taking) abandon(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := t.mine(ctx, func(_ etcdschema.Snapshot, b *etcdschema.Backup) ([]etcdschema.Op, error) {
		b.Status, b.Import.Attempt, b.Import.Until = etcdschema.BackupNew, "", time.Time{}
		return nil, nil
	})
	if err != nil && !errors.Is(err, errNotMine) {
		t.control.Log.Warn("a sending was not given up; the next one waits", "backup_id", t.b.BackupID, "err", err)
	}
}

// told is how a client is told what went wrong.
func (t *taking) told(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if own, is := errors.AsType[*fault.Error](err); is {
		return own
	}
	switch {
	case errors.Is(err, errNotMine):
		return fault.Errorf(fault.Conflict, "Backup %s was cancelled, or another sending of it goes on.", t.b.BackupID)
	case errors.Is(err, blobstore.ErrFull):
		return fault.Errorf(fault.NoSpace, "The store of backups is full.")
	}
	if ctx.Err() == nil {
		t.control.Log.Error("a backup could not be brought in", "project", t.b.Project, "backup_id", t.b.BackupID, "err", err)
	}
	return fault.Errorf(fault.Unavailable, "What backup %s holds could not be stored. Send it again.", t.b.BackupID)
}

// arrival is what is being sent.
type arrival struct {
	*taking
	ctx  context.Context
	body io.Reader
	n    int64
}

// Read reads the body, and has the sending go on meanwhile.
func (a *arrival) Read(p []byte) (int, error) {
	if _, err := a.hold(a.ctx, 0); err != nil {
		return 0, err
	}
	n, err := a.body.Read(p)
	a.n += int64(n)
	if err != nil && err != io.EOF {
		err = fault.Errorf(fault.TooSlow, "What was sent did not come to its end. Send it again.")
	}
	return n, err
}

// unpack writes what is sent as the engine made it.
func (a *arrival) unpack(w io.Writer, compressed bool) error {
	if !compressed {
		_, err := io.Copy(w, a)
		return err
	}
	z, err := zstd.NewReader(a, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
	if err != nil {
		return err
	}
	defer z.Close()
	_, err = io.Copy(&limited{w, a, 0}, z)
	if known := (*fault.Error)(nil); err == nil || errors.As(err, &known) || errors.Is(err, errNotMine) || a.ctx.Err() != nil {
		return err
	}
	if errors.Is(err, errStored) {
		return err
	}
	return fault.Errorf(fault.Unprocessable, "What was sent is no zstd, or damaged: %v. Send application/octet-stream what is not compressed.", err)
}

var errStored = errors.New("it cannot be stored")

// limited refuses what becomes far larger than it was sent, and tells errors of its writer from those of the decompressor.
type limited struct {
	w io.Writer
	a *arrival
	n int64
}

func (l *limited) Write(p []byte) (int, error) {
	if l.n += int64(len(p)); l.n > bomb*l.a.n+slack {
		return 0, fault.Errorf(fault.Unprocessable, "What was sent grows more than %d times when it is decompressed: no backup does.", bomb)
	}
	n, err := l.w.Write(p)
	if err != nil {
		err = fmt.Errorf("%w: %w", errStored, err)
	}
	return n, err
}
