package agent

import (
	"context"
	"slices"
	"sync"
)

// fifo is a line of things that wait for goroutines.
type fifo[T any] struct {
	wake chan struct{} // holds a token when there may be news for a goroutine that waits

	mu     sync.Mutex
	items  []T
	closed bool
}

func newFifo[T any]() *fifo[T] { return &fifo[T]{wake: make(chan struct{}, 1)} }

func (f *fifo[T]) push(item T) {
	f.mu.Lock()
	f.items = append(f.items, item)
	f.mu.Unlock()
	f.signal()
}

// close lets next return false once the line is empty.
func (f *fifo[T]) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.signal()
}

func (f *fifo[T]) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// next takes the first item, and waits for one. False when ctx has ended or the line is closed and empty.
func (f *fifo[T]) next(ctx context.Context) (item T, ok bool) {
	for ctx.Err() == nil {
		item, ok, closed := f.pop()
		if ok || closed {
			return item, ok
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
		}
	}
	return item, false
}

// pop wakes another goroutine that waits when there is something for it too: a token tells one only.
func (f *fifo[T]) pop() (item T, ok, closed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() {
		if len(f.items) > 0 || f.closed {
			f.signal()
		}
	}()
	if len(f.items) == 0 {
		return item, false, f.closed
	}
	item = f.items[0]
	f.items = slices.Delete(f.items, 0, 1)
	return item, true, false
}

// remove takes out the first item for which match is true. False when there is none.
func (f *fifo[T]) remove(match func(T) bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.items, match)
	if i < 0 {
		return false
	}
	f.items = slices.Delete(f.items, i, i+1)
	return true
}
