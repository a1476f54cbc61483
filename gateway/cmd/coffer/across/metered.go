package across

import (
	"io"
	"sync"
)

// metered is a reader that tells how much was read of it.
type metered struct {
	r     io.Reader
	moved func()
	show  func(done int64)
	done  int64

	mu  sync.Mutex
	err error // that the reader had, but for its end
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.done += int64(n)
	m.moved()
	m.show(m.done)
	if err != nil && err != io.EOF {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.err = &readError{err}
	}
	return n, err
}

func (m *metered) failed() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// readError is one of what is sent.
type readError struct{ error }

func (e *readError) Unwrap() error { return e.error }
