package double

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"sync"
)

// vBuckets is how many parts a bucket has. Couchbase has 1024.
const vBuckets = 64

func vBucketOf(key string) int { return int(crc32.ChecksumIEEE([]byte(key)) % vBuckets) }

// store is what a node has of a bucket: a log of changes, and what they come to.
type store struct {
	parts [vBuckets]part

	mu      sync.Mutex // of what follows
	file    *os.File
	waiting []byte // changes that are not on the disk, as they are of a write without durability
}

// part is a vBucket with its lock, which its active node holds while it has others make a change.
type part struct {
	sync.Mutex
	vBucket
}

// vBucket is a copy of one part. Term is the revision of the state in which its active node became that, and Seq counts changes.
type vBucket struct {
	Term int               `json:"term"`
	Seq  int               `json:"seq"`
	Docs map[string]string `json:"docs"`
}

// change is one change of a document, or a copy of all of a vBucket.
type change struct {
	VB    int      `json:"vb"`
	Term  int      `json:"term"`
	Seq   int      `json:"seq"`
	Key   string   `json:"key,omitempty"`
	Value *string  `json:"value,omitempty"` // nil: the document is deleted
	All   *vBucket `json:"all,omitempty"`
}

func (v *vBucket) take(c change) {
	if c.All != nil {
		*v = *c.All
	}
	if v.Docs == nil {
		v.Docs = map[string]string{}
	}
	v.Term, v.Seq = c.Term, c.Seq
	switch {
	case c.All != nil:
	case c.Value == nil:
		delete(v.Docs, c.Key)
	default:
		v.Docs[c.Key] = *c.Value
	}
}

// openStore reads the log, but for a last line that was cut.
func openStore(dir, uuid string) (*store, error) {
	f, err := os.OpenFile(filepath.Join(dir, uuid+".log"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	s := &store{file: f}
	var whole int64
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		var c change
		if err != nil || json.Unmarshal(line, &c) != nil || c.VB < 0 || c.VB >= vBuckets {
			break
		}
		whole += int64(len(line))
		s.parts[c.VB].take(c)
	}
	_, err = f.Seek(whole, 0)
	if err = errors.Join(err, f.Truncate(whole)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

// apply makes changes, whose vBuckets are locked. They are on the disk when it returns, if they have to be.
func (s *store) apply(persist bool, changes ...change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range changes {
		line, err := json.Marshal(c)
		if err != nil {
			return err
		}
		s.waiting = append(append(s.waiting, line...), '\n')
	}
	if persist {
		if err := s.write(); err != nil {
			return err
		}
	}
	for _, c := range changes {
		s.parts[c.VB].take(c)
	}
	return nil
}

func (s *store) write() error {
	if len(s.waiting) == 0 {
		return nil
	}
	if _, err := s.file.Write(s.waiting); err != nil {
		return fmt.Errorf("cannot write: %w", err)
	}
	s.waiting = nil
	return s.file.Sync()
}

func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.write(), s.file.Close())
}

// copyOf is a copy of a vBucket that nobody changes.
func (s *store) copyOf(vb int) vBucket {
	p := &s.parts[vb]
	p.Lock()
	defer p.Unlock()
	return p.copied()
}

func (v *vBucket) copied() vBucket {
	return vBucket{Term: v.Term, Seq: v.Seq, Docs: maps.Clone(v.Docs)}
}

// isBehind reports whether another copy of the vBucket has what this one has not.
func (v *vBucket) isBehind(other vBucket) bool {
	return v.Term < other.Term || v.Term == other.Term && v.Seq < other.Seq
}
