package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// store is a gateway's place for backups and logs, in memory.
type store struct {
	mu       sync.Mutex
	segments map[string][]byte         // by backup/number
	logs     map[string]map[int][]byte // by log and number
	puts     int                       // of log chunks
	cut      func(n int) error         // fails a put of a log's chunk after it was stored
	stuck    bool                      // no segment is taken until ctx ends
}

func newStore() *store {
	return &store{segments: map[string][]byte{}, logs: map[string]map[int][]byte{}}
}

func segmentKey(backupID string, n int) string { return fmt.Sprintf("%s/%d", backupID, n) }

func (s *store) PutSegment(ctx context.Context, backupID string, n int, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stuck {
		s.mu.Unlock()
		<-ctx.Done()
		s.mu.Lock()
		return ctx.Err()
	}
	s.segments[segmentKey(backupID, n)] = bytes.Clone(body)
	return ctx.Err()
}

func (s *store) GetSegment(ctx context.Context, backupID string, n int) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, ok := s.segments[segmentKey(backupID, n)]
	if !ok {
		return nil, errors.New("no such segment")
	}
	return bytes.Clone(body), ctx.Err()
}

func (s *store) PutLogChunk(ctx context.Context, log string, n int, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.logs[log] == nil {
		s.logs[log] = map[int][]byte{}
	}
	s.logs[log][n] = bytes.Clone(body)
	s.puts++
	if s.cut != nil {
		return s.cut(n)
	}
	return ctx.Err()
}

func (s *store) DeleteLog(ctx context.Context, log string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.logs, log)
	return ctx.Err()
}

// published is what was published of a log, and the size of its longest chunk.
func (s *store) published(log string) (text string, longest int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range slices.Sorted(maps.Keys(s.logs[log])) {
		text += string(s.logs[log][n])
		longest = max(longest, len(s.logs[log][n]))
	}
	return text, longest
}
