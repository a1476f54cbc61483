package agentpolltest

import (
	"slices"
	"sync"

	"github.com/cofferdb/coffer/agentpoll/server"
)

// feed is one server's watch: what it was not told yet.
type feed struct {
	mu     sync.Mutex
	wake   *sync.Cond
	queue  []server.Changes
	held   bool
	closed bool
	done   chan struct{}
}

// Feed tells apply of everything that is pending (a Resync) and then of every change, in order, as a gateway's watch
// does. apply is called from one goroutine. The returned Watch must be closed.
func (b *Backend) Feed(apply func(server.Changes)) *Watch {
	f := &feed{done: make(chan struct{})}
	f.wake = sync.NewCond(&f.mu)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nextFeed++
	id := b.nextFeed
	b.feeds[id] = f
	f.add(b.everything())
	go f.run(apply)
	return &Watch{b: b, id: id, f: f}
}

// Watch is a server's watch of a [Backend], which a test may delay.
type Watch struct {
	b  *Backend
	id int
	f  *feed
}

// Hold stops the watch, so that the server lags behind the others; Hold(false) lets it catch up.
func (w *Watch) Hold(hold bool) {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	w.f.held = hold
	w.f.wake.Broadcast()
}

// Close ends the watch and waits until apply is not running any more.
func (w *Watch) Close() {
	w.b.mu.Lock()
	delete(w.b.feeds, w.id)
	w.b.mu.Unlock()
	w.f.mu.Lock()
	w.f.closed = true
	w.f.wake.Broadcast()
	w.f.mu.Unlock()
	<-w.f.done
}

func (f *feed) add(c server.Changes) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, c)
	f.wake.Broadcast()
}

func (f *feed) run(apply func(server.Changes)) {
	defer close(f.done)
	for {
		f.mu.Lock()
		for !f.closed && (f.held || len(f.queue) == 0) {
			f.wake.Wait()
		}
		closed, queue := f.closed, f.queue
		f.queue = nil
		f.mu.Unlock()
		if closed {
			return
		}
		for _, c := range queue {
			apply(c)
		}
	}
}

// tell adds a change to every feed. b.mu must be held.
func (b *Backend) tell(c server.Changes) {
	for _, f := range b.feeds {
		f.add(c)
	}
}

// everything is a Resync. b.mu must be held.
func (b *Backend) everything() server.Changes {
	c := server.Changes{Revision: b.revision, Resync: true}
	for _, stored := range b.inOrder() {
		c.Commands = append(c.Commands, stored.change())
	}
	return c
}

// Restore is etcd restored from a backup: a new epoch, a revision that has gone back, the same commands pending, or
// with forget none of them.
func (b *Backend) Restore(epoch string, forget bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	pending := b.inOrder()
	b.epoch, b.revision = epoch, 1
	clear(b.commands)
	for _, c := range slices.Clone(pending) {
		if !forget {
			c.revision = b.bump()
			b.commands[c.value.ID] = c
		}
	}
	b.tell(b.everything())
	b.notify()
}
