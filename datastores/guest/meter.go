package guest

import "sync/atomic"

// meter counts the bytes that are written to it, and tells their number once in every so many.
type meter struct {
	every int64
	tell  func(done int64)
	done  atomic.Int64
}

func (m *meter) Write(p []byte) (int, error) {
	n := int64(len(p))
	if after := m.done.Add(n); after/m.every != (after-n)/m.every {
		m.tell(after)
	}
	return len(p), nil
}
