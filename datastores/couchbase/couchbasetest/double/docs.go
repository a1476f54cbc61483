package double

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// operation is what is asked of the active node of a vBucket.
type operation struct {
	Bucket string  `json:"bucket"`
	Key    string  `json:"key"`
	Write  bool    `json:"write"`
	Value  *string `json:"value"` // nil: the document is deleted
}

// result is what it answers.
type result struct {
	Status int     `json:"status"`
	Value  *string `json:"value,omitempty"`
	Error  string  `json:"error,omitempty"`
}

func failure(status int, format string, args ...any) result {
	return result{Status: status, Error: fmt.Sprintf(format, args...)}
}

func (n *node) getDoc(r *http.Request) answer {
	return n.operate(r, operation{Bucket: r.PathValue("bucket"), Key: r.PathValue("key")})
}

func (n *node) putDoc(r *http.Request) answer {
	value := r.PostForm.Get("value")
	return n.operate(r, operation{Bucket: r.PathValue("bucket"), Key: r.PathValue("key"), Write: true, Value: &value})
}

func (n *node) deleteDoc(r *http.Request) answer {
	return n.operate(r, operation{Bucket: r.PathValue("bucket"), Key: r.PathValue("key"), Write: true})
}

// operate has the active node of the document's vBucket do it.
func (n *node) operate(r *http.Request, op operation) answer {
	s := n.now()
	if s == nil {
		return missing()
	}
	b := s.Buckets[op.Bucket]
	if b == nil || len(op.Key) > 250 {
		return missing()
	}
	chain := b.Map[vBucketOf(op.Key)]
	if len(chain) == 0 {
		return answer{http.StatusServiceUnavailable, map[string]string{"error": "no node has the vBucket"}}
	}
	var out result
	if chain[0] == n.address {
		out = n.operateHere(r.Context(), op)
	} else if err := n.ask(r.Context(), chain[0], "/operate", op, &out); err != nil {
		out = failure(http.StatusServiceUnavailable, "the active node does not answer: %v", err)
	}
	switch {
	case out.Status == http.StatusNotFound:
		return missing()
	case out.Status != http.StatusOK:
		return answer{out.Status, map[string]string{"error": out.Error}}
	case op.Write:
		return okay(nil)
	}
	return okay(map[string]any{"meta": map[string]string{"id": op.Key}, "json": *out.Value})
}

// operateHere does it, if this node is the active one.
func (n *node) operateHere(ctx context.Context, op operation) result {
	s := n.now()
	if s == nil || s.Buckets[op.Bucket] == nil {
		return failure(http.StatusNotFound, "no bucket")
	}
	b := s.Buckets[op.Bucket]
	store, vb := n.storeOf(b.UUID), vBucketOf(op.Key)
	chain := b.Map[vb]
	switch {
	case store == nil || len(chain) == 0 || chain[0] != n.address:
		return failure(http.StatusServiceUnavailable, "this is not the active node of vBucket %d", vb)
	case !n.hasMajority(s):
		return failure(http.StatusServiceUnavailable, "this node reaches too few others")
	}
	p := &store.parts[vb]
	p.Lock()
	defer p.Unlock()
	if op.Write {
		return n.write(ctx, s, b, store, p, vb, op)
	}
	value, ok := p.Docs[op.Key]
	if !ok {
		return failure(http.StatusNotFound, "no document")
	}
	return result{Status: http.StatusOK, Value: &value}
}

// write makes a change here and at the replicas. It is acknowledged as the durability of the bucket has it. p is locked.
func (n *node) write(ctx context.Context, s *state, b *bucket, store *store, p *part, vb int, op operation) result {
	chain := b.Map[vb]
	needed, persist := b.majority(), b.Durability != "none" && b.Durability != "majority"
	reachable := 0
	for _, host := range chain {
		if n.reaches(host, time.Now()) {
			reachable++
		}
	}
	if reachable < needed {
		return failure(http.StatusServiceUnavailable, "durability impossible: %d of %d copies of vBucket %d can be reached, and it takes %d", reachable, b.Replicas+1, vb, needed)
	}
	if n.promise() > s.Rev {
		return failure(http.StatusServiceUnavailable, "the map is being changed")
	}
	c := change{VB: vb, Term: p.Term, Seq: p.Seq + 1, Key: op.Key, Value: op.Value}
	if err := store.apply(persist, c); err != nil {
		return failure(http.StatusInternalServerError, "%v", err)
	}
	acknowledged := 1
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, host := range chain[1:] {
		if !n.reaches(host, time.Now()) {
			continue
		}
		all.Go(func() {
			if n.replicate(ctx, host, replication{Rev: s.Rev, UUID: b.UUID, Persist: persist, Change: c}, p) == nil {
				mu.Lock()
				defer mu.Unlock()
				acknowledged++
			}
		})
	}
	all.Wait()
	if acknowledged < needed {
		return failure(http.StatusServiceUnavailable, "durability ambiguous: %d copies of vBucket %d have the change, and it takes %d", acknowledged, vb, needed)
	}
	return result{Status: http.StatusOK}
}

// majority is how many copies must have a change before it is acknowledged.
func (b *bucket) majority() int {
	if b.Durability == "none" {
		return 1
	}
	return (b.Replicas+1)/2 + 1
}

// replicate gives a change to a replica, and a copy of all to one that is behind.
func (n *node) replicate(ctx context.Context, host string, m replication, p *part) error {
	var told replicated
	if err := n.ask(ctx, host, "/replicate", m, &told); err != nil || !told.Behind {
		return err
	}
	all := p.copied()
	m.Change.All = &all
	if err := n.ask(ctx, host, "/replicate", m, &told); err != nil {
		return err
	}
	if told.Behind {
		return fmt.Errorf("%s stays behind", host)
	}
	return nil
}

// listDocs lists all documents with their values, by key.
func (n *node) listDocs(r *http.Request) answer {
	s := n.now()
	b := s.Buckets[r.PathValue("bucket")]
	if b == nil {
		return missing()
	}
	hosts := map[string]bool{}
	for _, chain := range b.Map {
		if len(chain) == 0 {
			return answer{http.StatusServiceUnavailable, map[string]string{"error": "no node has some vBuckets"}}
		}
		hosts[chain[0]] = true
	}
	docs := map[string]string{}
	for host := range hosts {
		var some listing
		if host == n.address {
			some = n.listHere(b.UUID)
		} else if err := n.ask(r.Context(), host, "/list", listing{UUID: b.UUID}, &some); err != nil {
			some.Error = err.Error()
		}
		if some.Error != "" {
			return answer{http.StatusServiceUnavailable, map[string]string{"error": some.Error}}
		}
		maps.Copy(docs, some.Docs)
	}
	rows := []map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(docs)) {
		rows = append(rows, map[string]any{"id": key, "key": key, "doc": map[string]any{"meta": map[string]string{"id": key}, "json": docs[key]}})
	}
	return okay(map[string]any{"rows": rows})
}

// listing are the documents of the vBuckets of which a node is the active one.
type listing struct {
	UUID  string            `json:"uuid"`
	Docs  map[string]string `json:"docs"`
	Error string            `json:"error,omitempty"`
}

func (n *node) listHere(uuid string) listing {
	s, store := n.now(), n.storeOf(uuid)
	if s == nil || store == nil || !n.hasMajority(s) {
		return listing{Error: "this node reaches too few others"}
	}
	l := listing{UUID: uuid, Docs: map[string]string{}}
	for _, b := range s.Buckets {
		for vb, chain := range b.Map {
			if b.UUID == uuid && len(chain) > 0 && chain[0] == n.address {
				maps.Copy(l.Docs, store.copyOf(vb).Docs)
			}
		}
	}
	return l
}
