// Package due lets happen what is due: it follows the due index in etcd, which every gateway does in the same way. Whoever is second finds
// that it is done; a gateway that ends takes nothing with it.
package due

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/cofferdb/coffer/etcdschema"
)

// Item is a key of the due index.
type Item struct {
	At          time.Time
	Project, ID string
}

// Key is the item's place among those of a kind.
func (i Item) Key(kind string) etcdschema.Key[etcdschema.Due] {
	return etcdschema.DueKey(kind, i.At, i.Project, i.ID)
}

// Drop takes away the item's key, when it is still there and no record's any more. The transaction must have read that.
func (i Item) Drop(s etcdschema.Snapshot, kind string) ([]etcdschema.Op, error) {
	rec, err := etcdschema.Read(s, i.Key(kind))
	if err != nil || !rec.Found {
		return nil, err
	}
	return []etcdschema.Op{etcdschema.Delete(i.Key(kind))}, nil
}

// Forget takes away the key of an item whose record is gone, or is due at another time by now.
func Forget[T any](ctx context.Context, store *etcdschema.Store, item Item, kind string, of etcdschema.Key[T], due func(T) time.Time) error {
	_, err := store.Update(ctx, []etcdschema.Ref{of}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, of)
		if err != nil || rec.Found && due(rec.Value).Equal(item.At) {
			return nil, err
		}
		return item.Drop(s, kind)
	})
	return err
}

// ErrBefore is the error of a transaction that finds that another gateway was first.
var ErrBefore = errors.New("it is not due any more")

// Decide has a transaction decide over the record of an item, as long as that is due when the item says; [ErrBefore] when it is not. The record is
// the caller's to change, and to write.
func Decide[T any](ctx context.Context, store *etcdschema.Store, item Item, of etcdschema.Key[T], due func(T) time.Time,
	decide func(etcdschema.Snapshot, *T) ([]etcdschema.Op, error),
) error {
	_, err := store.Update(ctx, []etcdschema.Ref{of}, func(s etcdschema.Snapshot) ([]etcdschema.Op, error) {
		rec, err := etcdschema.Read(s, of)
		if err == nil && (!rec.Found || !due(rec.Value).Equal(item.At)) {
			err = ErrBefore
		}
		if err != nil {
			return nil, err
		}
		return decide(s, &rec.Value)
	})
	return err
}

// Kind is what is done about one kind of keys. All of it must be set.
type Kind struct {
	Name string
	// Happen lets it happen, by a transaction that takes the key away or moves it, guarded by the record whose time it is; it may find that
	// this is done already. When it fails it is called again later.
	Happen func(context.Context, Item) error
	Places int           // how many may happen at a time here
	Within time.Duration // how long one may take
}

const (
	// AfterFull is how long nothing is due after etcd was full: results could not be stored, and agents that wait between two tries need as
	// long until they have sent them.
	AfterFull = 2 * time.Minute
	// retry is how long what has failed waits.
	retry = 5 * time.Second
	// readWithin is how long etcd has for a page, and readPause how long an index waits that could not read one.
	readWithin = 10 * time.Second
	readPause  = time.Second
	// longest is how long an index sleeps at most: the clock may be set meanwhile.
	longest = time.Minute
)

// Index follows the keys of one kind. Make it with [New].
type Index struct {
	kind  Kind
	store *etcdschema.Store
	log   *slog.Logger
	now   func() time.Time
	wake  chan struct{} // holds a token when something has changed

	mu      sync.Mutex
	watched bool // what changes is told from now on
	page    page
	running map[string]bool // what is happening, by name
	again   time.Time       // when what has failed is looked for; zero: nothing has
}

// New returns the index of a kind.
func New(store *etcdschema.Store, log *slog.Logger, now func() time.Time, kind Kind) *Index {
	return &Index{kind: kind, store: store, log: log.With("due", kind.Name), now: now, wake: make(chan struct{}, 1), running: map[string]bool{}}
}

// Run lets happen what is due until ctx ends. It returns when all that has begun has ended.
func (x *Index) Run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { _ = x.store.Tail(ctx, etcdschema.Dues(x.kind.Name).String(), x.told) })
	for ctx.Err() == nil {
		wait := x.begin(func(name string, item Item) { work.Go(func() { x.happen(ctx, name, item) }) })
		if wait == 0 {
			wait = x.read(ctx)
		}
		x.sleep(ctx, wait)
	}
}

// sleep waits until something has changed, at most for so long; with a negative time for nothing else.
func (x *Index) sleep(ctx context.Context, most time.Duration) {
	if most < 0 || most > longest {
		most = longest
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-x.wake:
	case <-timer.C:
	}
}

func (x *Index) changed() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// begin starts what is due, as far as there are places, and returns how long there is nothing to begin; 0: a page has to be read, less: for
// as long as nothing changes.
func (x *Index) begin(start func(name string, item Item)) time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	if wait := AfterFull - x.store.SinceFull(); wait > 0 {
		return wait
	}
	if !x.watched {
		return -1
	}
	now := x.now()
	if !x.again.IsZero() && !now.Before(x.again) {
		x.page, x.again = page{epoch: x.page.epoch + 1}, time.Time{}
	}
	for len(x.page.names) > 0 {
		name := x.page.names[0]
		at, project, id, ok := etcdschema.ParseDueName(name)
		switch {
		case !ok:
			x.log.Error("a key of the due index cannot be read", "name", name)
		case now.Before(at):
			return x.until(now, at)
		case x.running[name]:
		case len(x.running) == x.kind.Places:
			return -1
		default:
			x.running[name] = true
			start(name, Item{At: at, Project: project, ID: id})
		}
		x.page.remove(name)
	}
	if !x.page.all {
		return 0
	}
	return x.until(now, time.Time{})
}

// until is how long it is from now to a time, zero for never, or to that of another try.
func (x *Index) until(now, at time.Time) time.Duration {
	if at.IsZero() || !x.again.IsZero() && x.again.Before(at) {
		at = x.again
	}
	if at.IsZero() {
		return -1
	}
	return at.Sub(now)
}

// happen lets one item happen.
func (x *Index) happen(ctx context.Context, name string, item Item) {
	within, cancel := context.WithTimeout(ctx, x.kind.Within)
	defer cancel()
	err := x.attempt(within, item)
	if err != nil && ctx.Err() == nil {
		x.log.Warn("what is due could not happen; it is tried again", "project", item.Project, "id", item.ID, "since", item.At, "err", err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.running, name)
	if err != nil && x.again.IsZero() {
		x.again = x.now().Add(retry)
	}
	x.changed()
}

// attempt makes an error of a panic: one that every gateway meets with the same item would end them all, one after the other.
func (x *Index) attempt(ctx context.Context, item Item) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a fault of the gateway: %v\n%s", p, debug.Stack())
		}
	}()
	return x.kind.Happen(ctx, item)
}

// read reads the next page, and returns how long to wait with what follows.
func (x *Index) read(ctx context.Context) time.Duration {
	x.mu.Lock()
	from, epoch := x.page.expect()
	x.mu.Unlock()
	within, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	list, err := etcdschema.List(within, x.store, etcdschema.Dues(x.kind.Name), etcdschema.Page{Limit: pageSize, After: from})
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.page.epoch != epoch { // everything has to be read anew
		return 0
	}
	if err != nil {
		x.page.limit(from)
		if ctx.Err() == nil {
			x.log.Warn("the due index cannot be read; it is tried again", "err", err)
		}
		return readPause
	}
	names := make([]string, 0, len(list.Records))
	for _, rec := range list.Records {
		names = append(names, etcdschema.Dues(x.kind.Name).Name(rec.Key))
	}
	x.page.fill(names, list.Last, list.More)
	return 0
}

// told hears what was put into the index and taken out.
func (x *Index) told(b etcdschema.Batch) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if b.Resync {
		x.watched, x.page = true, page{epoch: x.page.epoch + 1}
	}
	for _, c := range b.Changes {
		if name := etcdschema.Dues(x.kind.Name).Name(c.Key); c.Value == nil {
			x.page.remove(name)
		} else {
			x.page.put(name)
		}
	}
	if b.Resync || len(b.Changes) > 0 {
		x.changed()
	}
}
